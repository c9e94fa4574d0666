"""Run: ask a question, and watch the graph work on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from modular_pluralism.debugger.build import nodes_of
from modular_pluralism.debugger.page import elements as el
from modular_pluralism.debugger.page.evidence_list import show_evidence
from modular_pluralism.debugger.page.graph_view import GraphView
from modular_pluralism.debugger.page.node_sheet import open_sheet
from modular_pluralism.debugger.page.progress import NodeProgress, RunProgress
from modular_pluralism.debugger.page.run_form import RunForm
from modular_pluralism.debugger.page.tab import Tab, View
from modular_pluralism.debugger.page.words import STATES
from modular_pluralism.errors import PluralismError
from modular_pluralism.modes import find_mode, shown_answer
from modular_pluralism.pool import Pool
from modular_pluralism.runs.setup import Setup
from modular_pluralism.types import CommentEvidence

_DONE = ("finished", "reused", "edited", "failed")


class _CommunityCard:
    """What a community says."""

    def __init__(self, tab: Tab, name: str, communities: list[str], description: str) -> None:
        colour = el.hue(communities.index(name))
        with el.box("card voice", "section", label=name).style(colour):
            with el.box("line between"):
                with el.box("line"):
                    el.community(name, communities)
                with el.box("chip", "span") as self._chip:
                    self._icon = ui.icon("schedule")
                    self._word = el.text("waiting", tag="span")
            said = f"What {name} says"
            self._said = el.text("", "said", tabindex="0", role="region", title=description, label=said)
            self._thought = el.box()
            self._reasoning = ""
            self._told = el.box()
            self._evidence: CommentEvidence | None = None
            with el.box("foot"):
                self._cost = el.text("", "cost")
                label_of_details = f"Prompt and output of {name}"
                el.button("Details", lambda: open_sheet(tab, name), kind="btn small quiet", label=label_of_details)

    def show(self, node: NodeProgress) -> None:
        """Put it into the state of its node, with what the community has said so far."""
        word, kind, icon = STATES[node.state]
        self._icon.set_name(icon)
        self._word.set_text(word)
        self._chip.classes(replace=f"chip {kind}")
        self._said.classes(replace="said caret" if node.state == "speaking" else "said")
        self._said.set_text(el.visible(node.error or node.text.rstrip()))
        self._cost.set_text(" · ".join(node.costs))
        if node.reasoning != self._reasoning:
            self._reasoning = node.reasoning
            with el.refilled(self._thought):
                el.reasoning(node.reasoning)
        if node.evidence != self._evidence:
            self._evidence = node.evidence
            with el.refilled(self._told):
                show_evidence(node.evidence)


class RunView(View):
    """See View."""

    name = "run"
    title = "Run"
    icon = "play_circle_outline"
    of_the_store = False

    def __init__(self, tab: Tab) -> None:
        super().__init__(tab)
        self._graph: GraphView | None = None
        self._cards: dict[str, _CommunityCard] = {}
        self._ended = False
        self._starting = False

    async def show(self) -> None:
        """See View."""
        setup = await self._tab.setup()
        with el.box("two"):
            with el.box("card stack side", "form", label="What to ask").on(
                "submit", js_handler="(event) => event.preventDefault()"
            ):
                self._form = RunForm(self._tab.runs, setup, self._preview)
                with el.box("btns"):
                    el.button("Start", self._begin, icon="play_arrow", kind="btn main")
                    self._stop = el.button("Stop", self._halt, icon="stop", kind="btn danger")
            self._stage = el.box("stack")
        if setup is None:
            self._preview()
        else:
            self._draw(setup)
            self.update()

    def update(self) -> None:
        """See View."""
        progress = self._tab.progress
        if progress is None or self._graph is None:
            return
        for node in self._graph.nodes:
            self._graph.show(node, progress[node])
        for name, card in self._cards.items():
            card.show(progress[name])
        done = sum(progress[name].state in _DONE for name in self._cards)
        told = f"{done} of {len(self._cards)} communities have answered."
        self._told.set_text(f"The run is {progress.state}." if progress.done else told)
        if not progress.done:
            said = progress[self._graph.nodes[-1]].text.rstrip()
            self._answer.set_text(el.visible(said) or "It comes when the communities have spoken.")
            self._answer.classes(replace="said big" if said else "said big muted")
        elif not self._ended:
            self._ended = True
            with el.refilled(self._outcome):
                _show_result(progress, list(self._cards))
            self._fit_stop()

    async def _begin(self) -> None:
        request = self._form.request()
        if self._starting:  # a double click starts one run
            return
        self._starting = True
        try:
            run = await self._tab.runs.start(request)
        finally:
            self._starting = False
        await self._tab.open(run)
        # On a narrow page the graph stands below the form.
        self._tab.javascript("innerWidth < 900 && document.querySelector('.graph')?.closest('.card').scrollIntoView()")

    async def _halt(self) -> None:
        if self._tab.run is not None:
            await self._tab.runs.stop(self._tab.run)

    def _preview(self) -> None:
        """The graph that would run."""
        self._graph = None
        self._fit_stop()
        try:
            pool = Pool.load(self._form.pool)
        except PluralismError as error:
            with el.refilled(self._stage):
                el.note(str(error), "bad", "error")
            return
        nodes = self._form.mode.nodes(tuple(pool.communities), voice=self._form.voice)
        with el.refilled(self._stage), el.box("card stack", "section"):
            with el.box("line between"):
                el.text(f"{self._form.mode.title} with the pool {pool.name}", tag="h2")
                el.chip(f"{len(pool.communities)} communities")
            GraphView(nodes, lambda node: self._explain(pool, node))
            el.text(
                "Press Start: the boxes light up as the communities speak. A click on a box tells about it.",
                "muted small",
            )

    def _explain(self, pool: Pool, node: str) -> None:
        if node in pool.communities:
            el.notify(f"{node}: {pool.communities[node].description}")
        else:
            el.notify("This part of the graph has not run yet.")

    def _draw(self, setup: Setup) -> None:
        descriptions = _descriptions(setup)
        with self._stage:
            with el.box("card stack", "section"):
                with el.box("line between top"):
                    el.text(setup.asked["question"], "said", tag="h1")
                    el.chip(find_mode(setup.mode).title)
                self._graph = GraphView(nodes_of(setup), lambda node: open_sheet(self._tab, node))
                self._told = el.text("", "muted small", role="status", **{"aria-live": "polite"})
            with el.box("card stack tight", "section", label="Answer") as self._outcome:
                el.text("Answer", tag="h2")
                self._answer = el.text("", "said big")
            el.text("What the communities say", tag="h2")
            with el.box("voices"):
                self._cards = {
                    name: _CommunityCard(self._tab, name, setup.communities, descriptions.get(name, ""))
                    for name in setup.communities
                }
        self._fit_stop()

    def _fit_stop(self) -> None:
        run = self._tab.run if self._graph is not None else None
        el.enable(self._stop, run is not None and self._tab.runs.is_live(run))


def _descriptions(setup: Setup) -> dict[str, str]:
    """What each community of a run is said to be; empty where its pool cannot be read any more."""
    try:
        return {name: community.description for name, community in setup.load(anyway=True).pool.communities.items()}
    except PluralismError:
        return {}


def _show_result(progress: RunProgress, communities: list[str]) -> None:
    """The answer, the choice or the distribution; or why there is none."""
    state = progress.final
    el.text("Pooled distribution" if state.get("weights") else "Answer", tag="h2")
    if progress.error:
        el.note(progress.error, "bad", "error")
    elif progress.state == "stopped":
        el.note(
            "The run was stopped before its answer. What was said so far is kept; Time travel can go on from it.",
            "warn",
        )
    if state.get("missing"):
        el.note(f"No comment from: {', '.join(state['missing'])}.", "warn", "warning")
    if state.get("selected"):
        _show_selected(state["selected"], communities)
    if state.get("choice"):
        el.facts([("Choice", str(state["choice"]))])
    if answer := shown_answer(state):
        el.text(answer, "said big")
        if (state.get("usage") or {}).get("finish_reason") == "length":
            el.note("The answer was cut off at its token limit.", "warn", "content_cut")
    shares = state.get("distribution")
    shares = shares["probabilities"] if isinstance(shares, Mapping) else shares
    if shares and state.get("options"):
        with el.bars(80):
            for option, share in zip(state["options"], shares, strict=False):
                el.text(option, "who")
                el.meter(share, even=1 / len(shares), kind="pooled")
        el.text("The dotted line is where every option would be equally likely.", "muted small")


def _show_selected(selected: Mapping[str, Any], communities: list[str]) -> None:
    with el.box("line"):
        el.text("Steered by", "muted")
        el.community(selected["community"], communities, "strong")
        if selected["probability"] is not None:
            el.chip(el.percent(selected["probability"]))
