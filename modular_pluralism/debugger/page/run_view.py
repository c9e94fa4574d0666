"""Run: ask a question, and watch the graph work on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui
from nicegui.element import Element
from nicegui.elements.icon import Icon
from nicegui.elements.mixins.text_element import TextElement

from modular_pluralism.debugger.page.box_sheet import open_sheet
from modular_pluralism.debugger.page.elements import (
    attributes,
    box,
    button,
    chip,
    hue,
    note,
    tag_of,
    text,
    visible,
)
from modular_pluralism.debugger.page.graph_view import AFTER, GraphView
from modular_pluralism.debugger.page.outcome_view import show_outcome
from modular_pluralism.debugger.page.run_form import RunForm
from modular_pluralism.debugger.page.words import STATES
from modular_pluralism.errors import PluralismError
from modular_pluralism.pool import Pool
from modular_pluralism.runs.setup import Setup
from modular_pluralism.types import Mode

if TYPE_CHECKING:
    from modular_pluralism.debugger.page.shell import Tab


_DONE = ("finished", "reused", "edited", "failed")


class _Voice:
    """A community's card."""

    def __init__(self, tab: Tab, name: str, place: int, description: str) -> None:
        self._shown: tuple[str, str] = ("", "")
        with attributes(box("card voice", "section"), **{"aria-label": name}).style(hue(place)):
            with box("line between"):
                with box("line"):
                    tag_of(place, name)
                    text(name, tag="h3")
                with box("chip", "span") as self._chip:
                    self._icon: Icon = ui.icon("schedule")
                    self._word: TextElement = text("waiting", tag="span")
            self._said = attributes(
                text("", "said"), tabindex="0", role="region", **{"aria-label": f"What {name} says"}
            )
            attributes(self._said, title=description)
            with box("foot"):
                self._cost = text("", "cost")
                button(
                    "Details",
                    lambda: open_sheet(tab, name),
                    kind="btn small quiet",
                    label=f"Prompt and output of {name}",
                )

    def show(self, state: str, said: str, costs: str) -> None:
        """Put it into a state, with what it has said so far."""
        if self._shown[0] != state:
            words = STATES[state]
            self._icon.set_name(words.icon)
            self._word.set_text(words.word)
            self._chip.classes(replace=f"chip {words.kind}")
            self._said.classes(
                add="caret" if state == "speaking" else "", remove="" if state == "speaking" else "caret"
            )
        if self._shown[1] != said:
            self._said.set_text(visible(said))
        if self._cost.text != costs:
            self._cost.set_text(costs)
        self._shown = (state, said)


class RunView:
    """See View."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self._graph: GraphView | None = None
        self._voices: dict[str, _Voice] = {}
        self._ended = False
        self._starting = False

    async def show(self) -> None:
        """See View."""
        setup = await self._tab.setup()
        with box("two"):
            with attributes(box("card stack side", "form"), **{"aria-label": "What to ask"}).on(
                "submit", js_handler="(event) => event.preventDefault()"
            ):
                self._form = RunForm(self._tab.desk, await self._tab.request(), self._preview)
                with box("btns"):
                    self._start = button("Start", self._tab.guarded(self._begin), icon="play_arrow", kind="btn main")
                    self._stop = button("Stop", self._tab.guarded(self._halt), icon="stop", kind="btn danger")
            self._stage = box("stack")
        if setup is None:
            self._preview()
        else:
            self._draw(setup.mode, setup.communities, setup.asked["question"], descriptions(setup))
            self.news()

    def news(self) -> None:
        """See View."""
        board = self._tab.board
        if board is None or self._graph is None or not self._live:
            return
        for node in self._graph.nodes:
            each = board[node]
            self._graph.show(node, each.state, each.short_cost)
        for name, voice in self._voices.items():
            each = board[name]
            voice.show(each.state, each.error or each.text.rstrip(), " · ".join(each.costs))
        self._progress(sum(board[name].state in _DONE for name in self._voices), board.state)
        last = board[AFTER[self._mode][-1]]
        if not board.done:
            words = visible(last.text.rstrip()) or "It comes when the communities have spoken."
            if self._answer.text != words:
                self._answer.set_text(words)
                self._answer.classes(remove="muted" if last.text else "", add="" if last.text else "muted")
        elif not self._ended:
            self._ended = True
            self._outcome.clear()
            with self._outcome:
                show_outcome(board.final, self._mode, list(self._voices), board.state, board.error)
            self._buttons()

    def _progress(self, done: int, state: str) -> None:
        said = (
            f"{done} of {len(self._voices)} communities have answered."
            if state == "running"
            else f"The run is {state}."
        )
        if self._told.text != said:
            self._told.set_text(said)

    async def _begin(self) -> None:
        request = self._form.request()
        if self._starting:  # a double click starts one run
            return
        self._starting = True
        try:
            run = await self._tab.desk.start(request)
        finally:
            self._starting = False
        await self._tab.open(run)
        # On a narrow page the graph stands below the form.
        self._tab.javascript("innerWidth < 900 && document.querySelector('.graph')?.closest('.card').scrollIntoView()")

    async def _halt(self) -> None:
        if self._tab.run is not None:
            await self._tab.desk.stop(self._tab.run)

    def _preview(self) -> None:
        """The graph that would run."""
        try:
            pool = Pool.load(self._form.pool)
        except PluralismError as error:
            self._stage.clear()
            with self._stage:
                note(str(error), "bad", "error")
            return
        self._live = False
        self._mode = self._form.mode
        self._stage.clear()
        with self._stage, box("card stack", "section"):
            with box("line between"):
                text(f"{self._mode.capitalize()} with the pool {pool.name}", tag="h2")
                chip(f"{len(pool.communities)} communities")
            GraphView(self._mode, list(pool.communities), lambda node: self._explain(pool, node))
            text(
                "Press Start: the boxes light up as the communities speak. A click on a box tells about it.",
                "muted small",
            )
        self._buttons()

    def _explain(self, pool: Pool, node: str) -> None:
        if node in pool.communities:
            self._tab.say(f"{node}: {pool.communities[node].description}")
        else:
            self._tab.say("This part of the graph has not run yet.")

    def _draw(self, mode: Mode, communities: list[str], question: str, said_of: dict[str, str]) -> None:
        self._live, self._mode, self._ended = True, mode, False
        self._stage.clear()
        with self._stage:
            with box("card stack", "section"):
                with box("line between top"):
                    text(question, "said", tag="h1")
                    chip(mode.capitalize())
                self._graph = GraphView(mode, communities, lambda node: open_sheet(self._tab, node))
                self._told = attributes(text("", "muted small"), role="status", **{"aria-live": "polite"})
            with attributes(box("card stack tight", "section"), **{"aria-label": "Answer"}) as self._outcome:
                text("Answer", tag="h2")
                self._answer = text("", "said big")
            text("What the communities say", tag="h2")
            with box("voices"):
                self._voices = {
                    name: _Voice(self._tab, name, place, said_of.get(name, ""))
                    for place, name in enumerate(communities)
                }
        self._buttons()

    def _buttons(self) -> None:
        on = self._tab.run is not None and self._live and self._tab.desk.is_live(self._tab.run)
        _enable(self._stop, on)


def descriptions(setup: Setup) -> dict[str, str]:
    """What each community of a run is said to be; empty where its pool cannot be read any more."""
    try:
        return {name: each.description for name, each in setup.load(anyway=True).pool.communities.items()}
    except PluralismError:
        return {}


def _enable(element: Element, on: bool) -> None:
    attributes(element, disabled=None if on else "disabled")
