"""The first node: refuses a run that cannot mean anything, before any model is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from modular_pluralism.errors import InputError
from modular_pluralism.nodes.render import one_line
from modular_pluralism.nodes.step import Body, State, Update, step_maker
from modular_pluralism.option_math import MOST_OPTIONS
from modular_pluralism.types import Mode, Voice

_RESULTS = (
    *("comments", "missing", "selected", "answer", "usage", "choice"),
    *("distributions", "votes", "readings", "distribution", "label_mass", "disagreement", "weights"),
)


@step_maker()
def check(*, attribute: bool = False, options: bool = False, mode: bool = False) -> Body:
    """Step that checks the question and, where the graph needs them, the attribute, the options and the mode.

    It also empties what an earlier run on the same thread left in the state: without that, the answer to one question
    would stand below the next one until there is a new answer, or for good where the new run leaves none of its kind.

    Raises (in the step):
        InputError: a part is missing or unusable.
    """

    def step(state: State) -> Update:
        if mode:
            check_mode(state.get("mode"))
        check_question(state.get("question"))
        check_seed(state.get("seed"))
        if attribute or state.get("attribute") is not None:
            check_attribute(state.get("attribute"))
        if options or state.get("options"):
            check_options(state.get("options"))
        return {key: None for key in _RESULTS if state.get(key) is not None}

    return step


def check_question(question: object) -> None:
    """Raise InputError unless there is a question."""
    if not isinstance(question, str) or not question.strip():
        raise InputError("The question is empty; write what the communities shall comment on.")
    _check_unicode(question, "The question")


def check_attribute(attribute: object) -> None:
    """Raise InputError unless there is an attribute."""
    if not isinstance(attribute, str) or not attribute.strip():
        raise InputError(
            'This question needs an attribute: a value, a demographic or a culture, such as "the right to privacy".'
        )
    _check_unicode(attribute, "The attribute")


def check_mode(mode: object) -> Mode:
    """The mode, if there is such a one; raises InputError otherwise."""
    for known in get_args(Mode):
        if mode == known:
            return known  # type: ignore[no-any-return]
    raise InputError(f"There is no mode {mode!r}; use {', '.join(get_args(Mode))}.")


def check_voice(voice: object) -> Voice:
    """The voice, if there is such a one; raises InputError otherwise."""
    for known in get_args(Voice):
        if voice == known:
            return known  # type: ignore[no-any-return]
    raise InputError(f"There is no voice {voice!r}; use {', '.join(get_args(Voice))}.")


def check_seed(seed: object) -> None:
    """Raise InputError unless the seed is a whole number, or left out."""
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        raise InputError(f"The seed is {seed!r}; give a whole number, or leave it out.")


def check_options(options: Any, *, distinct: bool = False) -> None:
    """Raise InputError unless there are two to 26 options.

    Real surveys have questions with two equal options, which their letters tell apart. Where a person has typed the
    options, an equal one is a slip: `distinct` refuses it.
    """
    if options is not None and (isinstance(options, str) or not isinstance(options, Sequence)):
        raise InputError('The options are not a list; give them one by one, as in ["Yes", "No"].')
    given = list(options or ())
    if len(given) < 2:
        raise InputError(f"There must be at least two options, not {len(given)}; add what can be answered.")
    if len(given) > MOST_OPTIONS:
        raise InputError(f"There are {len(given)} options, and only {MOST_OPTIONS} letters; use fewer options.")
    seen: set[str] = set()
    for number, option in enumerate(given, start=1):
        if not isinstance(option, str):
            raise InputError(f"Option {number}, {option!r}, is no text; write it in quotes.")
        _check_unicode(option, f"Option {number}")
        text = one_line(option)  # as the models see it
        if not text:
            raise InputError(f"Option {number} is empty; write it or leave it out.")
        if distinct and text in seen:
            raise InputError(f"Option {number}, {text!r}, is there twice; options must differ.")
        seen.add(text)


def _check_unicode(text: str, what: str) -> None:
    """Bytes that are not UTF-8 arrive from a terminal or a pipe as lone surrogates, which no model can read."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{what} is not UTF-8 text; save or send it as UTF-8.") from None
