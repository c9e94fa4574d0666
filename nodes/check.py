"""The first node: refuses a run that cannot mean anything, before any model is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modular_pluralism.errors import InputError
from modular_pluralism.nodes.step import State, Steps, Update
from modular_pluralism.option_math import MOST_OPTIONS


def check(*, attribute: bool = False, options: bool = False) -> Any:
    """Step that checks the question and, where the graph needs them, the attribute and the options.

    It also empties what an earlier run on the same thread left in the state.

    Raises (in the step):
        InputError: a part is missing or unusable.
    """

    def step(state: State) -> Steps:
        check_question(state.get("question"))
        if attribute:
            check_attribute(state.get("attribute"))
        if options or state.get("options"):
            check_options(state.get("options"))
        update: Update = {"comments": None}
        if options:
            update["distributions"] = None
        return update
        yield  # a step is a generator, and this one asks no model

    return step


def check_question(question: object) -> None:
    """Raise InputError unless there is a question."""
    if not isinstance(question, str) or not question.strip():
        raise InputError("The question is empty; write what the communities shall comment on.")


def check_attribute(attribute: object) -> None:
    """Raise InputError unless there is an attribute."""
    if not isinstance(attribute, str) or not attribute.strip():
        raise InputError(
            'Steerable mode needs an attribute: a value, a demographic or a culture, such as "the right to privacy".'
        )


def check_options(options: Sequence[str] | None) -> None:
    """Raise InputError unless there are two to 26 different options."""
    given = list(options or ())
    if len(given) < 2:
        raise InputError(f"Distributional mode needs at least two options, and got {len(given)}.")
    if len(given) > MOST_OPTIONS:
        raise InputError(f"There are {len(given)} options, and only {MOST_OPTIONS} letters; use fewer options.")
    seen: set[str] = set()
    for number, option in enumerate(given, start=1):
        text = option.strip() if isinstance(option, str) else ""
        if not text:
            raise InputError(f"Option {number} is empty; write it or leave it out.")
        if text in seen:
            raise InputError(f"Option {number}, {text!r}, is there twice; options must differ.")
        seen.add(text)
