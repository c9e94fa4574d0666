"""What a person sees of a run in a terminal: each comment as it arrives, then the answer as it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from modular_pluralism.cli.bars import distribution_table
from modular_pluralism.cli.output import safe
from modular_pluralism.types import Comment, OptionDistribution, Selection, Usage

_LOW_MASS = 0.5


class TerminalView:
    """Implements RunView. Use it as a context manager around the run; then `result` prints what came out."""

    def __init__(self, console: Console, communities: Iterable[str]) -> None:
        self._console = console
        self._communities = list(communities)
        self._done: set[str] = set()
        self._tokens: dict[str, int] = {}
        self._writing = ""
        self._live: Live | None = None

    def __enter__(self) -> Self:
        # On anything but a terminal nothing moves; comments are printed as they arrive all the same.
        if self._console.is_terminal:
            self._live = Live(self._progress(), console=self._console, transient=True, refresh_per_second=8)
            self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, at)

    def speaking(self, node: str, text: str) -> None:
        """See RunView."""
        if not text:
            return
        if node in self._communities:
            self._tokens[node] = self._tokens.get(node, 0) + 1
        else:
            self._writing += text
        if self._live is not None:
            self._live.update(self._progress())

    def said(self, comment: Comment) -> None:
        """See RunView."""
        name = comment["community"]
        if name in self._done and comment["error"] is None:
            return  # a comment that fails afterwards, when it is scored, is told once more
        self._done.add(name)
        if comment["error"] is not None:
            body, note, style = safe(comment["error"]), "failed", "red"
        else:
            body, note, style = safe(comment["text"]), _cost(comment), "blue"
        title = Text(f"{'✗' if comment['error'] else '✓'} {name}")
        self._console.print(Panel(body, title=title, title_align="left", subtitle=note, border_style=style))

    def result(self, state: Mapping[str, Any], communities: Iterable[str]) -> None:
        """Print the outcome of a run in any mode."""
        if "selected" in state:
            self._console.print(_selection(state["selected"]))
        if "distributions" in state:
            self._print_distribution(state, communities)
        elif "choice" in state:
            self._print_choice(state)
        else:
            self._print_answer(state)
        if state["missing"]:
            self._console.print(Text(f"Missing: {', '.join(state['missing'])}.", style="yellow"))

    def _progress(self) -> RenderableType:
        waiting = [name for name in self._communities if name not in self._done]
        if not waiting:
            return Group(Spinner("dots", "the base LLM is answering"), safe(self._writing, "dim"))
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for name in waiting:
            count = self._tokens.get(name, 0)
            table.add_row(name, f"speaking, {count} tokens" if count else "reading")
        return Group(Spinner("dots", f"{len(waiting)} of {len(self._communities)} communities at work"), table)

    def _print_answer(self, state: Mapping[str, Any]) -> None:
        usage: Usage = state["usage"]
        panel = Panel(safe(state["answer"]), title="Answer", title_align="left", subtitle=_cost(usage))
        panel.border_style = "bold green"
        self._console.print(panel)

    def _print_choice(self, state: Mapping[str, Any]) -> None:
        read: OptionDistribution = state["distribution"]
        self._console.print(Panel(safe(state["choice"]), title="Answer", title_align="left", border_style="bold green"))
        self._console.print(distribution_table(state["options"], read["probabilities"], {}, self._console.width))
        self._print_reading([read], read["mass"])

    def _print_distribution(self, state: Mapping[str, Any], communities: Iterable[str]) -> None:
        of_each: Mapping[str, OptionDistribution] = state["distributions"]
        rows = {name: of_each[name]["probabilities"] for name in communities if name in of_each}
        self._console.print(distribution_table(state["options"], state["distribution"], rows, self._console.width))
        self._console.print(
            Text(f"Disagreement of the communities: {state['disagreement']:.4f} nats (0 is none).", style="dim")
        )
        self._print_reading(list(of_each.values()), state["label_mass"])

    def _print_reading(self, readings: list[OptionDistribution], mass: float | None) -> None:
        """What a reader has to know before trusting the numbers."""
        if mass is not None:
            low = mass < _LOW_MASS
            note = ": most of the probability was on other replies, so read these numbers with care" if low else ""
            self._console.print(Text(f"Label mass {mass:.0%}{note}.", style="yellow" if low else "dim"))
        samples = readings[0]["samples"]
        if samples is not None:
            text = f"An estimate from {samples} sampled replies each: the endpoint reports no log-probabilities."
            self._console.print(Text(text, style="yellow"))
        unread = sorted({option for reading in readings for option in reading["unread"]})
        if unread:
            line = Text("Too improbable for the endpoint to report, counted as 0: ", style="yellow")
            self._console.print(line.append_text(safe(", ".join(unread))))


def _selection(selected: Selection) -> Text:
    line = Text("Selected: ").append(selected["community"], style="bold")
    if selected["probability"] is None:
        return line.append(" (the endpoint reports no probabilities)", style="dim")
    line.append(f" with probability {selected['probability']:.0%}")
    if selected["mass"] is not None and selected["mass"] < _LOW_MASS:
        line.append(f"; the selector put only {selected['mass']:.0%} on valid numbers, so read it with care", "yellow")
    return line


def _cost(usage: Usage | Comment) -> str:
    cut = ", cut off at its limit" if usage["finish_reason"] == "length" else ""
    cached = f", {usage['cached_tokens']} read from the cache" if usage["cached_tokens"] else ""
    return f"{usage['completion_tokens']} tokens, {usage['seconds']:.1f} s{cut}{cached}"
