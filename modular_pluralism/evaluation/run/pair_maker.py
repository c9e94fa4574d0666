"""A judge of two methods as a maker of verdicts on the answers that both have given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from modular_pluralism.errors import ConfigurationError, PluralismError
from modular_pluralism.evaluation.data.items import Item
from modular_pluralism.evaluation.measures.judge import Verdict, judge_pair
from modular_pluralism.evaluation.run.journal import Journal
from modular_pluralism.evaluation.run.maker import Result
from modular_pluralism.evaluation.run.named_model import OpenModel
from modular_pluralism.models.calls import Caller
from modular_pluralism.prompts import PromptSet

_POINTS = {"win": 1.0, "tie": 0.0, "lose": -1.0}


class PairMaker:
    """Judges `one` against `other`, whose outcomes are in the journal."""

    def __init__(
        self, one: str, other: str, judge: OpenModel, prompts: PromptSet, caller: Caller, journal: Journal
    ) -> None:
        self.name = f"{one} against {other}"
        self._methods = (one, other)
        self._judge = judge
        self._prompts = prompts
        self._caller = caller
        self._journal = journal

    async def make(self, place: int, item: Item) -> Result:
        """See Maker."""
        answers = []
        for method in self._methods:
            outcome: dict[str, Any] = self._journal.get(method, place) or {"error": "never asked"}
            if outcome["error"] is not None:
                return {"error": f"{method} has no answer.", "verdict": None}
            answers.append(outcome["answer"])
        try:
            verdict = await judge_pair(self._judge(), self._prompts, item.question, *answers, caller=self._caller)
        except ConfigurationError:
            raise
        except PluralismError as error:
            return {"error": str(error), "verdict": None}
        return {"error": None, "verdict": asdict(verdict)}

    def scores(self, item: Item, result: Result) -> Mapping[str, float]:
        """See Maker: 1 for a win of the first, -1 for a defeat."""
        return {"wins_less_losses": _POINTS.get(result["verdict"]["outcome"], math.nan)}

    def shown(self, item: Item, result: Result) -> str:
        """See Maker."""
        return str(result["verdict"]["outcome"])


def verdict(result: Result) -> Verdict:
    """The verdict in a result: one without an outcome where a method or the judge failed."""
    kept = result["verdict"]
    if kept is None:
        return Verdict(None, None, None, parse_failures=0)
    pairs = {name: None if kept[name] is None else tuple(kept[name]) for name in ("probabilities", "masses")}
    return Verdict(kept["outcome"], parse_failures=kept["parse_failures"], **pairs)
