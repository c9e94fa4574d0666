"""Which sentence of an answer comes from which comment, and which comments it leaves out."""

from __future__ import annotations

from nicegui import ui

from modular_pluralism.debugger.attribution import Attribution, attribute_answer
from modular_pluralism.debugger.history import KeptRun
from modular_pluralism.debugger.page import elements as el
from modular_pluralism.errors import PluralismError

_MEASURES = {
    "words": "Shared words – quick, asks no model",
    "llm": "Entailment, judged by the base LLM – slow",
}


class AnswerSources:
    """The answer with its sentences marked."""

    def __init__(self, kept: KeptRun) -> None:
        self._kept = kept
        self._communities = kept.setup.communities

    async def show(self) -> None:
        """Build it where we stand."""
        with el.box("card stack"):
            with el.box("line between"):
                el.text("Where the answer comes from", tag="h2")
                measure = ui.select(_MEASURES, value="words", on_change=lambda event: self._measured(str(event.value)))
                with el.box("measure"):
                    el.field("Compared by", measure)
            self._marked = el.box("stack")
        self._rest = el.box("stack")
        await self._measured("words")

    async def _measured(self, spec: str) -> None:
        self._rest.clear()
        with el.refilled(self._marked):
            el.text("Comparing…", "muted")
        try:
            pool = self._kept.setup.load(anyway=True).pool if spec == "llm" else None
            attribution = await attribute_answer(self._kept.state, spec, pool=pool)
        except PluralismError as error:
            with el.refilled(self._marked):
                el.text(str(self._kept.state["answer"]), "said big")
                el.note(str(error), "bad", "error")
            return
        with el.refilled(self._marked):
            self._sentences(attribution)
        if not self._kept.state.get("selected"):  # a steered answer is meant to leave the others out
            with self._rest:
                self._left_out(attribution)

    def _sentences(self, attribution: Attribution) -> None:
        with el.box("sentences", "p"):
            for sentence in attribution.sentences:
                source = sentence.source
                with el.box("sentence" if source else "sentence none", "span") as made:
                    if source:
                        el.community(source, self._communities, "")
                        el.text(f"(from {source}) ", "sr", "span")
                    el.text(sentence.text, tag="span")
                if source:
                    score = f"{source}: {sentence.scores[source]:.2f}"
                    el.attributes(made.style(el.hue(self._communities.index(source))), title=score)
                el.text(" ", tag="span")
        with el.box("legend", role="list", label="Legend"):
            for name in [*self._communities, None]:
                count = sum(sentence.source == name for sentence in attribution.sentences)
                if count:
                    with el.box(role="listitem"):
                        self._counted(name, count)
        el.note(attribution.note)
        with el.more("The score of every sentence for every comment"):
            names = list(attribution.sentences[0].scores) if attribution.sentences else []
            rows = [
                [sentence.text, *(f"{sentence.scores[name]:.2f}" for name in names)]
                for sentence in attribution.sentences
            ]
            el.table(["Sentence", *names], rows)

    def _counted(self, name: str | None, count: int) -> None:
        if name is None:
            el.box("swatch dotted")
            el.text(f"from no comment: {count}", tag="span")
        else:
            el.community(name, self._communities, "")
            el.text(f"{name}: {count} {'sentence' if count == 1 else 'sentences'}", tag="span")

    def _left_out(self, attribution: Attribution) -> None:
        with el.card("Comments that the answer leaves out"):
            if not attribution.left_out:
                el.note("None: every comment has a sentence that is close to it.", "good", "check_circle")
            for name in attribution.left_out:
                with el.box("change hued").style(el.hue(self._communities.index(name))):
                    with el.box("line"):
                        el.community(name, self._communities)
                    el.text(self._kept.state["comments"][name]["text"], "said small")
            missing = self._kept.state.get("missing")
            if missing:
                el.note(f"Without a comment in this run: {', '.join(missing)}.", "warn", "warning")
