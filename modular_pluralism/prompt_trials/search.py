"""The search for a better text by reflection and evolution (GEPA, arXiv 2507.19457), over training items alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from gepa.api import optimize
from gepa.core.adapter import EvaluationBatch

from modular_pluralism.errors import InputError, PluralismError
from modular_pluralism.evaluation.data.items import Item
from modular_pluralism.evaluation.data.outcome import Outcome
from modular_pluralism.evaluation.run.bench import OnResult
from modular_pluralism.prompt_trials.bench import TrialBench
from modular_pluralism.prompt_trials.feedback import example, merit
from modular_pluralism.prompt_trials.reflection import Reflection
from modular_pluralism.prompt_trials.result_models import TriedText
from modular_pluralism.prompts import PromptSet

MINIBATCH = 3
"""Training items by which a new text is compared with the one that it came from, before it is tried on all."""

Known = dict[str, dict[int | str, Outcome]]
"""Outcomes by the prompt's text and the item's id."""


@dataclass
class Search:
    """Looks for a better text of one prompt. `key` is its name, or its persona's file name; `budget` the most metric
    calls: items answered and scored.

    Raises:
        InputError: the budget does not suffice for a single new text.
    """

    bench: TrialBench
    key: str
    reflection: Reflection
    training: Sequence[Item]
    budget: int
    runner: asyncio.Runner
    on_result: OnResult
    calls: int = 0
    known: Known = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._minibatch = min(MINIBATCH, len(self.training))
        self._failed: PluralismError | None = None
        self._chat = PromptSet.load()
        least = 2 * (len(self.training) + self._minibatch)
        if self.budget < least:
            raise InputError(
                f"A budget of {self.budget} does not suffice: the built-in text takes {len(self.training)} metric "
                f"calls, one for each training item, and a new one up to {least - len(self.training)}; give --budget "
                f"{least} or more, or fewer items by --limit."
            )

    def run(self) -> list[TriedText]:
        """All texts that were tried on every training item, the built-in one first.

        Raises:
            PluralismError: nothing can be computed, or the reflecting model cannot be asked.
        """
        built_in = self.reflection.prompt.text
        self.reflection.known.add(built_in.strip())
        result: Any = optimize(
            seed_candidate={self.key: built_in},
            trainset=list(self.training),
            adapter=cast(Any, self),
            reflection_minibatch_size=self._minibatch,
            perfect_score=1.0,
            stop_callbacks=cast(Any, self._spent),
            logger=_Silent(),
            seed=self.bench.settings.seed,
            track_best_outputs=False,
        )
        if self._failed is not None:
            raise self._failed
        self.calls = int(result.total_metric_calls)
        return [
            TriedText(text=candidate[self.key], merit=float(score), parent=parents[0])
            for candidate, score, parents in zip(
                result.candidates, result.val_aggregate_scores, result.parents, strict=True
            )
        ]

    def prompts(self, text: str) -> PromptSet:
        """The prompts with this text in the place of the built-in one."""
        return self.bench.prompts.with_texts({self.key: text})

    def outcomes(self, text: str, items: Sequence[Item]) -> list[Outcome]:
        """What becomes of the items with this text; what is known already is not computed again.

        Raises:
            PluralismError: nothing can be computed.
        """
        known = self.known.setdefault(text, {})
        missing = [item for item in items if item.id not in known]
        if missing:
            maker, _ = self.bench.maker("text", self.prompts(text))
            made = self.runner.run(self.bench.run([maker], items=missing, on_result=self.on_result))
            known.update((item.id, cast(Outcome, one)) for item, one in zip(missing, made["text"], strict=True))
        return [known[item.id] for item in items]

    # What GEPA asks of an adapter

    def evaluate(
        self, batch: list[Item], candidate: dict[str, str], capture_traces: bool = False
    ) -> EvaluationBatch[tuple[Item, Outcome], Outcome]:
        """See gepa.core.adapter.GEPAAdapter."""
        outcomes = self.outcomes(candidate[self.key], batch)
        kind = self.bench.kind
        return EvaluationBatch(
            outputs=outcomes,
            scores=[merit(kind, item, outcome) for item, outcome in zip(batch, outcomes, strict=True)],
            trajectories=list(zip(batch, outcomes, strict=True)) if capture_traces else None,
        )

    def make_reflective_dataset(
        self,
        candidate: dict[str, str],
        eval_batch: EvaluationBatch[tuple[Item, Outcome], Outcome],
        components_to_update: list[str],
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """See gepa.core.adapter.GEPAAdapter."""
        kind = self.bench.kind
        told = [example(kind, item, outcome, self._chat) for item, outcome in eval_batch.trajectories or []]
        return {self.key: [{"example": each} for each in told]}

    def propose_new_texts(
        self,
        candidate: dict[str, str],
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        """See gepa.core.adapter.GEPAAdapter. Empty where no usable text came."""
        if self._failed is not None:  # GEPA would ask once more after an error
            return {}
        examples = [str(each["example"]) for each in reflective_dataset[self.key]]
        try:
            text = self.runner.run(self.reflection.better(candidate[self.key], examples))
        except PluralismError as error:
            self._failed = error
            return {}
        return {} if text is None else {self.key: text}

    def _spent(self, state: Any) -> bool:
        """Whether the next turn might go beyond the budget."""
        turn = 2 * self._minibatch + len(self.training)
        return self._failed is not None or int(state.total_num_evals) + turn > self.budget


class _Silent:
    """GEPA's own log, which would go to standard output."""

    def log(self, message: str) -> None:
        """Drop it."""
