"""A run as Python code that does the same again."""

from __future__ import annotations

from pprint import pformat
from typing import Any

import modular_pluralism
from modular_pluralism.modes import ModeDescription, find_mode
from modular_pluralism.runs.setup import Setup

_WIDTH = 110
_EXACTNESS = """\
# The seed is the run's. The text is the same, to the letter, where the models are embedded and `repeatable`;
# otherwise a word may differ, and an endpoint may answer as it likes."""


def run_as_python(run: str, setup: Setup) -> str:
    """A script that builds the run's graph with its pool, prompts, edits and seed, asks it, and prints the result.

    Every text of the run stands in it as a literal of Python's: none of them can be anything else.
    """
    mode = find_mode(setup.mode)
    builder = mode.build.__name__
    edited = not setup.edits.empty
    lines = [
        f"# The run {run!r}, asked again.",
        _EXACTNESS,
        *_imports(mode),
        *(["from modular_pluralism.runs.edits import Edits, apply_edits"] if edited else []),
        "",
        f"pool = Pool.load({setup.pool!r})",
        f"prompts = PromptSet.load({'' if setup.prompts is None else repr(setup.prompts)})",
    ]
    arguments = ["pool", "prompts=prompts"]
    if edited:
        lines += [
            f"edits = Edits.model_validate({_literal(setup.edits.model_dump(exclude_defaults=True))})",
            "pool, prompts, comments = apply_edits(pool, prompts, edits)",
        ]
        arguments.append("comments=comments")
    arguments += [
        f"{name}={value!r}"
        for name, value in mode.settings(setup.scoring, setup.voice).items()
        if (name, value) != ("voice", "comment")
    ]
    return "\n".join(
        [
            *lines,
            f"graph = {builder}({', '.join(arguments)}).compile()",
            f"result = graph.invoke({_literal(setup.asked)})",
            f"print(result[{mode.result!r}])",
            "",
        ]
    )


def _imports(mode: ModeDescription) -> list[str]:
    builder = mode.build.__name__
    if builder in modular_pluralism.__all__:
        return [f"from modular_pluralism import Pool, PromptSet, {builder}"]
    return ["from modular_pluralism import Pool, PromptSet", f"from {mode.build.__module__} import {builder}"]


def _literal(value: Any) -> str:
    return pformat(value, width=_WIDTH, sort_dicts=False)
