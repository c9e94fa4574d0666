"""The prompts that a method uses on a task: another text of any other prompt changes nothing there."""

from __future__ import annotations

from modular_pluralism.evaluation.data.items import Kind
from modular_pluralism.evaluation.run.methods import MODES, MethodName, Scoring
from modular_pluralism.types import Mode


def prompts_in_use(kind: Kind, method: MethodName, scoring: Scoring) -> frozenset[str]:
    """The prompts that the method uses on some items of this kind, beside its communities' personas."""
    mode, choice = MODES[kind], kind != "overton"
    comment = {"comment_options", "plain_option"} if choice else {"comment"}

    def answer(name: str) -> set[str]:
        return {f"{name}_options", "option"} if choice and scoring != "text" else {name}

    match method:
        case "vanilla":
            found = answer("vanilla")
        case "prompting":
            found = answer(f"prompting_{mode}")
            found |= answer("prompting_group") if mode == "distributional" else set()
        case "moe":
            found = comment | {"route", "numbered_expert"} | answer("moe")
        case "modular":
            found = comment | _of_mode(mode, answer("respond"), scoring)
    return frozenset(found)


def _of_mode(mode: Mode, respond: set[str], scoring: Scoring) -> set[str]:
    match mode:
        case "overton":
            return {"merge", "numbered_comment"}
        case "steerable":
            return {"select", "numbered_comment", *respond}
        case "distributional":
            return {"score_text", "score_group_text"} if scoring == "text" else {"score", "score_group", "option"}
