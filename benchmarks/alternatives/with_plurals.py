"""The council with plurals."""

from __future__ import annotations

from typing import Any

from plurals.agent import Agent  # type: ignore[import-not-found]
from plurals.deliberation import Ensemble  # type: ignore[import-not-found]

from benchmarks.alternatives.council import CHECK, MERGE, PERSONAS, Outcome


def ask(question: str, models: dict[str, str], base: str, **litellm: Any) -> Outcome:
    agents = [Agent(system_instructions=PERSONAS[name], model=models[name], kwargs=litellm) for name in PERSONAS]
    ensemble = Ensemble(agents, task=question)
    ensemble.process()  # the response of one that fails is None
    checks = [CHECK.format(comment=said) for said in ensemble.responses]
    checkers = [
        Agent(task=check, model=models[name], kwargs=litellm) for name, check in zip(PERSONAS, checks, strict=True)
    ]
    checked = dict(zip(PERSONAS, [checker.process() for checker in checkers], strict=True))
    merge = MERGE.format(question=question, comments="\n".join(f"- {said}" for said in checked.values()))
    answer = Agent(task=merge, model=base, kwargs=litellm).process()
    return Outcome(answer=answer, comments=checked, missing=[])
