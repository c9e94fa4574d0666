"""Every community's distribution beside the pooled one, as bars that can be compared down a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modular_pluralism.debugger.distributions import (
    DistributionView,
    can_be_read_otherwise,
    describe_distributions,
    read_otherwise,
)
from modular_pluralism.debugger.history import KeptRun
from modular_pluralism.debugger.page import elements as el
from modular_pluralism.option_math import is_low
from modular_pluralism.types import OptionDistribution, Scoring

_READ = {
    "rotate": "averaged over the orders of the options",
    "label": "with the options in their own order",
    "text": "from the options' own words",
}

_RECORDED = "record: what each community's people have answered to like questions"


class DistributionChart:
    """The chart of a distributional run, with another reading beside it where somebody asks for one."""

    def __init__(self, kept: KeptRun) -> None:
        self._kept = kept
        self._state = kept.state
        self._scoring = kept.setup.scoring
        self._view = describe_distributions(kept.state)

    async def show(self) -> None:
        """Build it where we stand; what a run that rotated has read by label costs nothing more."""
        self._whole = el.box("stack")
        read = all(each.read["label"] is not None for each in self._view.communities)
        known = self._scoring == "rotate" and read
        self._draw(await read_otherwise(self._kept, "label") if known else None, "label")

    def _draw(self, beside: dict[str, OptionDistribution] | None, scoring: Scoring) -> None:
        with el.refilled(self._whole):
            with el.box("card stack"):
                with el.box("line between"):
                    el.text("How likely each option is", tag="h2")
                    self._legend(beside is not None, scoring)
                self._chart(beside)
                if beside is None and can_be_read_otherwise(self._kept):
                    self._offer()
            _figures(self._view, self._state)
            _evidence(self._view)

    def _legend(self, both: bool, scoring: Scoring) -> None:
        by_model = any(each.read["scoring"] is not None for each in self._view.communities)
        words = {"swatch": f"{self._scoring}: {_READ[self._scoring]}" if by_model else _RECORDED}
        if both:
            words["swatch thin"] = f"{scoring}: {_READ[scoring]}"
        words["swatch even"] = "all equally likely"
        with el.box("legend muted"):
            for swatch, meaning in words.items():
                with el.box():
                    el.box(swatch)
                    el.text(meaning, tag="span")

    def _chart(self, beside: dict[str, OptionDistribution] | None) -> None:
        options = self._state["options"]
        count = len(options)
        wide = f"grid-template-columns: minmax(120px, max-content) repeat({count}, minmax(90px, 1fr))"
        with el.box("dist scroll", role="group", label="Distributions").style(wide):
            el.text("", "head")
            for option in options:
                el.text(option, "head")
            with el.box("who pooled"):
                el.text("Pooled", tag="span")
            pooled = self._view.label_pooled if beside is not None and self._scoring == "rotate" else None
            self._cells(self._state["distribution"], pooled)
            el.box("rule")
            for each in self._view.communities:
                communities = self._kept.setup.communities
                with el.box("who"):
                    el.community(each.community, communities, "span")
                other = beside.get(each.community) if beside else None
                colour = el.hue(communities.index(each.community))
                self._cells(each.read["probabilities"], other["probabilities"] if other else None, colour)

    def _cells(self, shares: Sequence[float], beside: Sequence[float] | None, colour: str | None = None) -> None:
        """A row of bars: of the community with this colour, or of all pooled."""
        for index, (option, share) in enumerate(zip(self._state["options"], shares, strict=True)):
            with el.box("cell-bar") as cell:
                el.text(option, "opt")
                el.meter(share, even=1 / len(shares), kind="" if colour else "pooled")
                if beside is not None:
                    el.meter(beside[index], kind="thin")
            if colour:
                cell.style(colour)

    def _offer(self) -> None:
        other: Scoring = "rotate" if self._scoring != "rotate" else "label"

        async def read() -> None:
            el.notify("The base LLM is being asked; this takes a moment.")
            self._draw(await read_otherwise(self._kept, other), other)

        with el.box("btns"):
            el.button(f"Read it by {other} as well", read, icon="compare", kind="btn small")
            el.text(f"{other}: {_READ[other]}. The base LLM is asked again; nothing is kept.", "muted small")


def _figures(view: DistributionView, state: Mapping[str, Any]) -> None:
    with el.card("How far to trust it"):
        if state.get("missing"):
            el.note(f"Not in the pool, since they gave no comment: {', '.join(state['missing'])}.", "warn", "warning")
        low = [each.community for each in view.communities if is_low(each.read["mass"], each.read["scoring"])]
        if low:
            el.note(
                f"For {', '.join(low)} less than half of the probability is on the options: the model was mostly not "
                "answering with one of them.",
                "warn",
                "warning",
            )
        mass = state.get("label_mass")
        by_text = any(each.read["scoring"] == "text" for each in view.communities)
        shown = el.small if by_text else el.percent
        of_what = "Probability of the options' own words" if by_text else "Probability on the options at all"
        pairs = [(of_what, shown(mass))] if mass is not None else []
        disagreement = f"{state['disagreement']:.4f} nats, of {view.most_disagreement:.2f} at most"
        el.facts([*pairs, ("Disagreement of the communities", disagreement)])
        heads = ["Community", "Weight", "On the options", "Distance from the pooled"]
        rows = [
            [each.community, el.percent(each.weight), shown(each.read["mass"]), f"{each.distance:.3f}"]
            for each in view.communities
        ]
        el.table(heads, rows)
        sampled = [each.community for each in view.communities if each.read["samples"] is not None]
        if sampled:
            el.note(f"Estimated from sampled replies, not read: {', '.join(sampled)}.", "warn", "casino")


def _evidence(view: DistributionView) -> None:
    """The answers that records rest on, where any has spoken."""
    rows = [
        [
            each.community,
            answer["question"],
            "the question itself" if evidence["itself"] else f"{answer['similarity']:.2f}",
            el.percent(answer["weight"]),
        ]
        for each in view.communities
        if (evidence := each.read.get("evidence"))
        for answer in evidence["answers"]
    ]
    if rows:
        with el.card("What the records rest on"):
            el.table(["Community", "Answered question", "Similarity", "Weight in its record"], rows)
