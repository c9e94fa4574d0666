"""How an assembly's minutes look in a terminal: who prefers which candidate, who wins by which rule, and how sure that
is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from modular_pluralism.cli.output import safe
from modular_pluralism.societal.account import chosen_in_words, notes_on_ballots, rules_in_words
from modular_pluralism.societal.tally import Tally
from modular_pluralism.societal.uncertainty import Uncertainty


def minutes(state: Mapping[str, Any]) -> Iterator[RenderableType]:
    """What is shown below the answer."""
    tally: Tally | None = state.get("tally")
    if tally is not None:
        yield ballots_table(tally)
    first, *rest = chosen_in_words(state)
    yield safe(first, "bold" if tally else "yellow")
    for line in rest:
        yield safe(line)
    if rules := rules_in_words(state):
        yield _rules_table(rules)
    if uncertainty := state.get("uncertainty"):
        yield safe(_numbers(uncertainty), "dim")
    for note in notes_on_ballots(state):
        yield safe(note, "yellow")


def ballots_table(tally: Tally) -> Table:
    """The members' scores of every candidate, as they were given; the winner stands out."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("")
    weighed = len(set(tally["weights"])) > 1
    if weighed:
        table.add_column("weight", justify="right", style="dim")
    for name in tally["candidates"]:
        style = "bold cyan" if name == tally["winner"] else ""
        table.add_column(safe(name.replace("_", " ")), justify="right", style=style, header_style=style or "bold")
    for member, weight, scores in zip(tally["members"], tally["weights"], tally["scores"], strict=True):
        cells = [Text("–" if score is None else f"{score:.2f}") for score in scores]
        table.add_row(safe(member), *([Text(f"{weight:.2f}")] if weighed else []), *cells)
    return table


def _rules_table(rules: Sequence[tuple[str, str, str, str]]) -> Table:
    """The rules of the contract, and how the answer stands by each."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("rule", "", "the answer", "by the word of"):
        table.add_column(heading, overflow="fold")
    for name, strength, verdict, by in rules:
        broken = verdict == "broken" and strength == "must"
        table.add_row(safe(name), strength, Text(verdict, style="bold red" if broken else ""), safe(by, "dim"))
    return table


def _numbers(uncertainty: Uncertainty) -> str:
    """The three uncertainties, and the two that make up the last."""
    spread, mass = uncertainty["instrument"]["spread"], uncertainty["instrument"]["label_mass"]
    said = [f"between the members {uncertainty['between']:.3f} nats"]
    said += [] if uncertainty["within"] is None else [f"within each {uncertainty['within']:.0%} of the largest entropy"]
    said += [] if spread is None else [f"of the reading: spread {spread:.2f}"]
    said += [] if mass is None else [f"label mass {mass:.0%}"]
    return f"Uncertainty: {', '.join(said)}."
