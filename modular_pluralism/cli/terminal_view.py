"""What a person sees of a run in a terminal: each comment as it arrives, then the answer as it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from modular_pluralism.cli.minutes_view import minutes
from modular_pluralism.cli.output import is_full, safe, tell_instead
from modular_pluralism.modes import ModeDescription, shown_answer
from modular_pluralism.nodes.citations import in_words, numbered
from modular_pluralism.option_math import is_low
from modular_pluralism.table import one_line
from modular_pluralism.types import Comment, Evidence, OptionDistribution, RecordedAnswer, Scoring, Selection, Usage

_REASONING = 300
"""Characters of reasoning that are shown; a model may write pages."""
_EIGHTHS = " ▏▎▍▌▋▊▉"
_WIDE = 4
"""With more options than this, options become rows and communities columns."""


class TerminalView:
    """Use `live` as a context manager around the run; then `result` prints what came out. `quiet` prints nothing."""

    def __init__(self, communities: Iterable[str], *, quiet: bool = False) -> None:
        self._console = Console(highlight=False, quiet=quiet)
        self._communities = list(communities)
        self._done: set[str] = set()
        self._tokens: dict[str, int] = {}
        self._writing = ""
        self._spinner = Spinner("dots")
        # On anything but a terminal nothing moves; comments are printed as they arrive all the same.
        self.live = Live(
            get_renderable=self._progress,
            console=self._console,
            transient=True,
            refresh_per_second=8,
            redirect_stdout=not quiet,
            redirect_stderr=not quiet,
        )

    @property
    def moved(self) -> bool:
        """Whether standard output could not be written, so that standard error has got the rest."""
        return self._console.stderr

    def _print(self, shown: RenderableType) -> None:
        """Print it; what has cost something is not lost where standard output cannot be written."""
        try:
            self._console.print(shown)
        except OSError as error:
            if self.moved or not is_full(error):
                raise
            tell_instead(error)
            self._console = Console(highlight=False, stderr=True)
            self._console.print(shown)

    def speaking(self, node: str, text: str) -> None:
        """Some more text from a node's model."""
        if not text:
            return
        if node in self._communities:
            self._tokens[node] = self._tokens.get(node, 0) + 1
        else:
            self._writing += text

    def said(self, comment: Comment) -> None:
        """A community has finished, well or not."""
        name = comment["community"]
        if name in self._done and comment["error"] is None:
            return  # a comment that fails afterwards, when it is scored, is told once more
        self._done.add(name)
        body: RenderableType
        if comment["error"] is not None:
            body, note, style = safe(comment["error"]), "failed", "red"
        else:
            body, note, style = Group(*_shown(comment)), _cost(comment), "blue"
        title = Text(f"{'✗' if comment['error'] else '✓'} {name}")
        self._print(Panel(body, title=title, title_align="left", subtitle=note, border_style=style))

    def result(self, mode: ModeDescription, state: Mapping[str, Any]) -> None:
        """Print the outcome of a run in that mode. What not every mode writes is printed where it is there."""
        if state.get("selected"):
            self._print(_selection(state["selected"]))
        if mode.result == "distribution":
            self._print_distribution(state)
        else:
            self._print_answer(state)
        if state.get("candidates"):
            for shown in minutes(state):
                self._print(shown)
        if state.get("missing"):
            self._print(Text(f"Missing: {', '.join(state['missing'])}.", style="yellow"))

    def _progress(self) -> RenderableType:
        waiting = [name for name in self._communities if name not in self._done]
        if not waiting:
            self._spinner.update(text="the base LLM is answering")
            return Group(self._spinner, safe(self._writing, "dim"))
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for name in waiting:
            count = self._tokens.get(name, 0)
            table.add_row(name, f"speaking, {count} tokens" if count else "reading")
        self._spinner.update(text=f"{len(waiting)} of {len(self._communities)} communities at work")
        return Group(self._spinner, table)

    def _print_answer(self, state: Mapping[str, Any]) -> None:
        note = _cost(state["usage"]) if state.get("usage") else None
        text = safe(shown_answer(state))
        self._print(Panel(text, title="Answer", title_align="left", subtitle=note, border_style="bold green"))
        read: OptionDistribution | list[float] | None = state.get("distribution")
        if isinstance(read, dict):
            self._print(distribution_table(state["options"], read["probabilities"], {}, self._console.width))
            self._print_reading([read], read["mass"])

    def _print_distribution(self, state: Mapping[str, Any]) -> None:
        of_each: Mapping[str, OptionDistribution] = state.get("distributions") or {}
        rows = {name: of_each[name]["probabilities"] for name in self._communities if name in of_each}
        self._print(distribution_table(state["options"], state["distribution"], rows, self._console.width))
        if state.get("disagreement") is not None:
            line = f"Disagreement of the communities: {state['disagreement']:.4f} nats (0 is none)."
            self._print(Text(line, style="dim"))
        self._print_reading(list(of_each.values()), state.get("label_mass"))
        for name in rows:
            if evidence := of_each[name].get("evidence"):
                self._print(_told(name, evidence, state["options"]))

    def _print_reading(self, readings: list[OptionDistribution], mass: float | None) -> None:
        """What a reader has to know before trusting the numbers."""
        if mass is not None:
            scoring: Scoring = next((each["scoring"] for each in readings if each["scoring"] is not None), "label")
            low = is_low(mass, scoring)
            note = ": most of the probability was on other replies, so read these numbers with care" if low else ""
            by_text = f"Probability of the options' own words {mass:.2g}"
            told = by_text if scoring == "text" else f"Label mass {mass:.0%}{note}"
            self._print(Text(f"{told}.", style="yellow" if low else "dim"))
        samples = readings[0]["samples"] if readings else None
        if samples is not None:
            text = f"An estimate from {samples} sampled replies each: the endpoint reports no log-probabilities."
            self._print(Text(text, style="yellow"))
        unread = sorted({option for reading in readings for option in reading["unread"]})
        if unread:
            line = Text("Too improbable for the endpoint to report, counted as 0: ", style="yellow")
            self._print(line.append_text(safe(", ".join(unread))))


def _told(name: str, evidence: Evidence, options: Sequence[str]) -> Text:
    """What a community's record has said, and how near it was."""
    if evidence["itself"]:
        return Text(f"{name} has answered this very question, so this is no prediction.", style="yellow")
    told = Text(f"{name} has answered (nearest similarity {evidence['nearness']:.2f}): ", style="dim")
    nearest = sorted(evidence["answers"], key=lambda answer: -answer["similarity"])
    of_each = {one_line(answer["question"]): _most_said(answer, options) for answer in reversed(nearest)}
    said = [f"“{question}” {most}" for question, most in reversed(of_each.items())]
    return told.append_text(safe("; ".join(said[:_TOLD]), "dim"))


def _most_said(answer: RecordedAnswer, options: Sequence[str]) -> str:
    """The asked option that most of them chose, and how many."""
    most = max(range(len(options)), key=answer["probabilities"].__getitem__)
    return f"{one_line(options[most])} {answer['probabilities'][most]:.0%}"


_TOLD = 2
"""Answers that are shown of a record."""


def _selection(selected: Selection) -> Text:
    line = Text("Selected: ").append(selected["community"], style="bold")
    if selected["probability"] is None:
        return line.append(" (the endpoint reports no probabilities)", style="dim")
    line.append(f" with probability {selected['probability']:.0%}")
    if selected["mass"] is not None and is_low(selected["mass"], "label"):
        line.append(f"; the selector put only {selected['mass']:.0%} on valid numbers, so read it with care", "yellow")
    return line


def _shown(comment: Comment) -> Iterator[RenderableType]:
    """A comment's text, and beneath it the beginning of what a thinking model wrote before it, and how many answers of
    its people the community was told."""
    yield safe(comment["text"])
    if reasoning := " ".join(comment.get("reasoning", "").split()):
        cut = f"{reasoning[:_REASONING]}… (all of it: --json)" if len(reasoning) > _REASONING else reasoning
        yield safe(f"Reasoning: {cut}", "dim")
    if evidence := comment.get("evidence"):
        line = Text(in_words(evidence), style="dim")
        if evidence["invented"]:
            line.append(f" Not told, but cited: {numbered(evidence['invented'])}.", style="not dim yellow")
        yield line


def _cost(usage: Usage | Comment) -> str:
    cut = ", cut off at its limit" if usage["finish_reason"] == "length" else ""
    cached = f", {usage['cached_tokens']} read from the cache" if usage["cached_tokens"] else ""
    return f"{usage['completion_tokens']} tokens, {usage['seconds']:.1f} s{cut}{cached}"


def bar(share: float, width: int) -> str:
    """A bar of `width` characters for a share from 0 to 1, exact to an eighth of a character."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def distribution_table(
    options: Sequence[str], pooled: Sequence[float], communities: Mapping[str, Sequence[float]], width: int
) -> Table:
    """The pooled distribution beside each community's own; `width` is that of the terminal."""
    rows = {"all communities": pooled, **communities}
    if len(options) > _WIDE:
        return _options_as_rows(options, rows)
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    for option in options:
        table.add_column(safe(option), justify="left", overflow="fold")
    room = width - max(map(len, rows)) - 2
    bar_width = max(4, min(24, room // len(options) - 9))
    for number, (name, distribution) in enumerate(rows.items()):
        style = "bold cyan" if number == 0 else ""
        cells = [Text(f"{bar(share, bar_width)} {share:5.1%}", style=style) for share in distribution]
        table.add_row(Text(name, style=style), *cells, end_section=number == 0)
    return table


def _options_as_rows(options: Sequence[str], rows: Mapping[str, Sequence[float]]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold")
    for name in rows:
        table.add_column(name.replace("_", " "), justify="right")
    for at, option in enumerate(options):
        shares = [distribution[at] for distribution in rows.values()]
        first = Text(f"{bar(shares[0], 10)} {shares[0]:5.1%}", style="bold cyan")
        table.add_row(safe(option), first, *(Text(f"{share:.0%}") for share in shares[1:]))
    return table
