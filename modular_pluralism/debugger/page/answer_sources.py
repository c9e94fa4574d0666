"""Which sentence of an answer comes from which comment, and which comments it leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from modular_pluralism.debugger.attribution import Attribution, attribute_answer
from modular_pluralism.debugger.history import KeptRun
from modular_pluralism.debugger.page.elements import attributes, box, field, hue, more, note, tag_of, text
from modular_pluralism.debugger.page.tables import table
from modular_pluralism.errors import PluralismError

if TYPE_CHECKING:
    from modular_pluralism.debugger.page.shell import Tab

_MEASURES = {
    "words": "Shared words – quick, asks no model",
    "llm": "Entailment, judged by the base LLM – slow",
}


class AnswerSources:
    """The answer with its sentences marked."""

    def __init__(self, tab: Tab, kept: KeptRun) -> None:
        self._tab = tab
        self._kept = kept

    async def show(self) -> None:
        """Build it where we stand."""
        with box("card stack"):
            with box("line between"):
                text("Where the answer comes from", tag="h2")
                measure = ui.select(_MEASURES, value="words", on_change=lambda event: self._measured(str(event.value)))
                with box("measure"):
                    field("Compared by", measure.props("outlined dense options-dense"))
            self._marked = box("stack")
        self._rest = box("stack")
        await self._measured("words")

    async def _measured(self, spec: str) -> None:
        self._marked.clear()
        self._rest.clear()
        with self._marked:
            text("Comparing…", "muted")
        try:
            pool = self._kept.setup.load(anyway=True).pool if spec == "llm" else None
            found = await attribute_answer(self._kept.state, spec, pool=pool)
        except PluralismError as error:
            self._marked.clear()
            with self._marked:
                text(str(self._kept.state["answer"]), "said big")
                note(str(error), "bad", "error")
            return
        self._marked.clear()
        with self._marked:
            self._sentences(found)
        if self._kept.setup.mode == "overton":  # a steered answer is meant to leave the others out
            with self._rest:
                self._left_out(found)

    def _sentences(self, found: Attribution) -> None:
        communities = self._kept.setup.communities
        with box("sentences", "p"):
            for each in found.sentences:
                with box("sentence" if each.source else "sentence none", "span") as made:
                    if each.source:
                        tag_of(communities.index(each.source), each.source)
                        text(f"(from {each.source}) ", "sr", "span")
                    text(each.text, tag="span")
                if each.source:
                    score = f"{each.source}: {each.scores[each.source]:.2f}"
                    attributes(made.style(hue(communities.index(each.source))), title=score)
                text(" ", tag="span")
        with attributes(box("legend"), role="list", **{"aria-label": "Legend"}):
            for place, name in enumerate(communities):
                count = sum(each.source == name for each in found.sentences)
                if count:
                    with attributes(box(), role="listitem"):
                        tag_of(place, name)
                        text(f"{name}: {count} {'sentence' if count == 1 else 'sentences'}", tag="span")
            alone = sum(each.source is None for each in found.sentences)
            if alone:
                with attributes(box(), role="listitem"):
                    box("swatch dotted")
                    text(f"from no comment: {alone}", tag="span")
        note(found.note)
        with more("The score of every sentence for every comment"):
            names = list(found.sentences[0].scores) if found.sentences else []
            table(
                ["Sentence", *names],
                [[each.text, *(f"{each.scores[name]:.2f}" for name in names)] for each in found.sentences],
            )

    def _left_out(self, found: Attribution) -> None:
        communities = self._kept.setup.communities
        with box("card stack"):
            text("Comments that the answer leaves out", tag="h2")
            if not found.left_out:
                note("None: every comment has a sentence that is close to it.", "good", "check_circle")
            for name in found.left_out:
                with box("change hued").style(hue(communities.index(name))):
                    with box("line"):
                        tag_of(communities.index(name), name)
                        text(name, tag="h3")
                    text(self._kept.state["comments"][name]["text"], "said small")
            missing = self._kept.state.get("missing")
            if missing:
                note(f"Without a comment in this run: {', '.join(missing)}.", "warn", "warning")
