"""What is asked: a question with its parts, checked in one place and with one wording, whoever asks it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, model_validator

from modular_pluralism.checked import no_such, shown
from modular_pluralism.errors import InputError
from modular_pluralism.modes import Takes, find_mode, takers
from modular_pluralism.nodes.noted import plain_update
from modular_pluralism.nodes.render import one_line
from modular_pluralism.nodes.tools import check_tools, uses_tools
from modular_pluralism.option_math import MOST_OPTIONS
from modular_pluralism.societal.choice import ChoiceName
from modular_pluralism.societal.contract import Contract
from modular_pluralism.societal.table import Normalise
from modular_pluralism.types import Mode, Scoring, Turn, Voice, Voices


class Request(BaseModel):
    """A question for a mode, checked as a whole.

    Args:
        question: The question.
        mode: The mode that it is for.
        attribute: The value, demographic or culture that is asked for.
        options: The possible answers, 2 to 26, all different.
        scoring: How option probabilities are read.
        voice: How communities are heard in distributional mode.
        choose: The rule by which an assembly chooses (default "nash").
        normalise: What an assembly makes of its members' scores before it chooses (default "none").
        contract: The rules for an assembly's answer, in plain values; see `Contract.data`.
        rounds: How often an assembly mends an answer that breaks them (default 2).
        seed: The seed of the run.
        history: What was said before the question.
        tools: What the base LLM may call where it writes its answer, as OpenAI has it.
        tool_choice: OpenAI's choice among the tools; "none" for none.
        tool_messages: The calls that it has made since the question, and what came back, as OpenAI has them.

    Raises:
        InputError: There is no such mode, scoring, voice or rule; or a part is missing, unusable, or not for this mode.
        ContractError: The contract is none.

    Example:
        ```python
        from modular_pluralism import Request

        request = Request(question="Should wages be public?", mode="steerable", attribute="privacy", seed=1)
        print(request.asked())  # the input of the mode's graph
        ```
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    mode: Mode = "overton"
    attribute: str | None = None
    options: list[str] | None = None
    scoring: Scoring = "rotate"
    voice: Voices = "comment"
    choose: ChoiceName | None = None
    normalise: Normalise | None = None
    contract: dict[str, Any] | None = None
    rounds: int | None = None
    seed: int | None = None
    history: list[Turn] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    tool_messages: list[dict[str, Any]] | None = None

    @model_validator(mode="before")
    @classmethod
    def _check(cls, given: Any) -> Any:
        if isinstance(given, Mapping):  # else it is nobody's request, which pydantic says itself
            for name in given.keys() - cls.model_fields.keys():
                raise InputError(f"A request has no {name!r}; it has {', '.join(cls.model_fields)}.")
            mode = find_mode(given.get("mode", "overton"))
            check_parts(given, mode.name, mode.takes)
            mode.settings(given.get("scoring", "rotate"), given.get("voice", "comment"))
        return given

    def asked(self) -> dict[str, Any]:
        """The input of the mode's graph."""
        parts = {
            "seed": self.seed,
            "history": self.history,
            "attribute": self.attribute,
            "options": self.options or None,
            "choose": self.choose,
            "normalise": self.normalise,
            "contract": self.contract,
            "rounds": self.rounds,
            "tools": self.tools or None,
            "tool_choice": self.tool_choice,
            "tool_messages": self.tool_messages or None,
        }
        return {"question": self.question, **{name: value for name, value in parts.items() if value is not None}}


def check_parts(given: Mapping[str, Any], mode: str, takes: Takes) -> None:
    """Check the parts of a question for a mode that takes these.

    Raises:
        InputError: a part is missing, unusable, or not for this mode.
    """
    check_question(given.get("question"))
    check_seed(given.get("seed"))
    check_history(given.get("history"))
    required = takes.attribute == "required"
    if required or given.get("attribute") is not None:
        _refuse(takes, "attribute", mode)
        check_attribute(given.get("attribute"), required=required)
    if takes.options == "required" or given.get("options") not in (None, [], ()):
        _refuse(takes, "options", mode)
        check_options(given.get("options"))
    check_choice(given, mode, takes)
    check_tools_of_mode(given, mode, takes)


MOST_ROUNDS = 5
"""Of mending an answer: more would be more than the steps that LangGraph lets a run take."""


def check_choice(given: Mapping[str, Any], mode: str, takes: Takes) -> None:
    """Check what a question says of how its answer is chosen, and by which rules it is mended.

    Raises:
        InputError: the mode chooses no answer, or there is no such rule to choose by, way to normalise, or number of
            rounds.
        ContractError: the contract is none.
    """
    for part in ("choose", "normalise", "contract", "rounds"):
        if given.get(part) is not None and not takes.choose:
            raise InputError(
                f"{mode.capitalize()} mode chooses among no answers, so it takes no {part}; leave it out, or choose "
                f"{takers('choose')} mode."
            )
    if given.get("choose") is not None:
        _known(given["choose"], get_args(ChoiceName), "rule to choose by")
    if given.get("normalise") is not None:
        _known(given["normalise"], get_args(Normalise), "way to normalise")
    if (contract := given.get("contract")) is not None:
        if not isinstance(contract, Mapping):
            raise InputError(
                f"The contract is {shown(contract)}; give its rules in plain values, as Contract.data has them."
            )
        Contract.from_data(plain_update(contract))
    hearing = given.get("hearing")
    if hearing is not None and (not isinstance(hearing, bool) or not takes.choose):
        raise InputError(f"The hearing is {shown(hearing)}; write True or False, in assembly mode, or leave it out.")
    rounds = 0 if given.get("rounds") is None else given["rounds"]
    if isinstance(rounds, bool) or not isinstance(rounds, int) or not 0 <= rounds <= MOST_ROUNDS:
        raise InputError(f"The rounds are {shown(rounds)}; give a whole number from 0 to {MOST_ROUNDS}.")


def check_state(state: Mapping[str, Any]) -> None:
    """Raise InputError where a part of the question in a state is unusable, as only an edit can have made it."""
    if "question" in state:
        check_question(state["question"])
    check_history(state.get("history"))
    if state.get("attribute") is not None:
        check_attribute(state["attribute"], required=False)
    if state.get("options"):
        check_options(state["options"])
    check_choice(state, "assembly", Takes(choose=True))
    check_tools(state)


def check_tools_of_mode(given: Mapping[str, Any], mode: str, takes: Takes) -> None:
    """Raise InputError where a question's tools are none, or are not for this mode or a question with options."""
    check_tools(given)
    of_tools = [given.get("tools"), given.get("tool_messages")]
    try:
        told = json.dumps(of_tools, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        why = "nests too deeply" if isinstance(error, RecursionError) else f"is no plain JSON ({error})"
        raise InputError(f"What belongs to the tools {why}; give dicts, lists, texts and numbers.") from None
    _check_unicode(told, "What belongs to the tools")
    if uses_tools(given):
        if not takes.tools:
            raise InputError(
                f"{mode.capitalize()} mode takes no tools, which are for what the base LLM writes as the answer; leave "
                f"them out, or choose {takers('tools')} mode."
            )
        if given.get("options"):
            raise InputError(
                "Tools are for an answer that the base LLM writes, and here it is one of the options; leave the "
                "tools or the options out."
            )


def _refuse(takes: Takes, part: Literal["attribute", "options"], mode: str) -> None:
    if getattr(takes, part) == "refused":
        raise InputError(
            f"{mode.capitalize()} mode takes no {part}; leave {'them' if part == 'options' else 'it'} out, or choose "
            f"{takers(part)} mode."
        )


def check_question(question: object) -> None:
    """Raise InputError unless there is a question."""
    if question is not None and not isinstance(question, str):
        raise InputError(f"The question is {shown(question)}; write it as text.")
    if not question or _is_blank(question):
        raise InputError("The question is empty; write what the communities shall comment on.")
    _check_unicode(question, "The question")


def check_history(history: object) -> None:
    """Raise InputError unless every turn has a role and a text."""
    if history is not None and (isinstance(history, str) or not isinstance(history, Sequence)):
        raise InputError(f"The history is {type(history).__name__}; {_TURNS}.")
    for number, turn in enumerate(history or (), start=1):
        if not isinstance(turn, Mapping) or turn.keys() != {"role", "content"} or turn["role"] not in _ROLES:
            raise InputError(f"Turn {number} of the history is none; {_TURNS}.")
        if not isinstance(turn["content"], str) or not turn["content"].strip():
            raise InputError(f"Turn {number} of the history is empty; write what was said as text, or leave it out.")
        _check_unicode(turn["content"], f"Turn {number} of the history")


_ROLES: tuple[str, ...] = get_args(get_type_hints(Turn)["role"])
_TURNS = f'give a list such as [{{"role": "user", "content": "…"}}], with the roles {", ".join(_ROLES)}'


def check_attribute(attribute: object, *, required: bool) -> None:
    """Raise InputError unless there is an attribute; one that is blank may be left out where it is not `required`."""
    kinds = 'a value, a demographic or a culture, such as "the right to privacy"'
    if attribute is not None and not isinstance(attribute, str):
        raise InputError(f"The attribute is {shown(attribute)}; write it as text: {kinds}.")
    if attribute is None or _is_blank(attribute):
        if required:
            raise InputError(f"This question needs an attribute: {kinds}.")
        raise InputError(f"The attribute is blank; write {kinds}, or leave it out.")
    _check_unicode(attribute, "The attribute")


def check_voice(voice: object) -> Voices:
    """The voices as they are written; raises InputError where one is none, or is there twice."""
    return ",".join(voices_in(voice))


def voices_in(voice: object) -> tuple[Voice, ...]:
    """The voices that are named, in the order of `Voice`. Errors are those of `check_voice`."""
    known: tuple[Voice, ...] = get_args(Voice)
    named = [each.strip() for each in voice.split(",")] if isinstance(voice, str) else [voice]
    chosen = [_known(each, known, "voice") for each in named]
    if len(set(chosen)) < len(chosen):
        raise InputError(f"There is no voice {voice!r}, with one of them twice; name each once.")
    return tuple(each for each in known if each in chosen)


def check_scoring(scoring: object) -> Scoring:
    """The scoring, if there is such a one; raises InputError otherwise."""
    known: tuple[Scoring, ...] = get_args(Scoring)
    return _known(scoring, known, "scoring")


T = TypeVar("T")


def _known(value: object, known: Sequence[T], what: str) -> T:
    for name in known:
        if value == name:
            return name
    raise InputError(no_such(what, value, known))


def check_seed(seed: object) -> None:
    """Raise InputError unless the seed is a whole number from 0, or left out."""
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or seed < 0):
        raise InputError(f"The seed is {shown(seed)}; give a whole number from 0, or leave it out.")


class Printed(list[str]):
    """Options as a survey has them. Some surveys print two that are equal, which their letters tell apart; of options
    that somebody has typed, an equal one is a slip."""


def check_options(options: Any) -> None:
    """Raise InputError unless there are two to 26 options, of which no two are equal where they are not `Printed`."""
    if options is not None and (isinstance(options, str) or not isinstance(options, Sequence)):
        raise InputError('The options are not a list; give them one by one, as in ["Yes", "No"].')
    given = list(options or ())
    if len(given) < 2:
        raise InputError(f"There must be at least two options, not {len(given)}; add what can be answered.")
    if len(given) > MOST_OPTIONS:
        raise InputError(f"There are {len(given)} options, and only {MOST_OPTIONS} letters; use fewer options.")
    for number, option in enumerate(given, start=1):
        if not isinstance(option, str):
            raise InputError(f"Option {number}, {shown(option)}, is no text; write it in quotes.")
        _check_unicode(option, f"Option {number}")
        if _is_blank(option):
            raise InputError(f"Option {number} is empty; write it or leave it out.")
    if not isinstance(options, Printed):
        _check_distinct(given)


def _check_distinct(options: Sequence[str]) -> None:
    seen: set[str] = set()
    for number, option in enumerate(options, start=1):
        text = one_line(option)  # as the models see it
        if text in seen:
            raise InputError(f"Option {number}, {text!r}, is there twice; options must differ.")
        seen.add(text)


def _is_blank(text: str) -> bool:
    """Whether there is nothing to read: white space, control characters, or joiners alone."""
    return not any(character.isprintable() and not character.isspace() for character in text)


def _check_unicode(text: str, what: str) -> None:
    """Bytes that are not UTF-8 arrive from a terminal or a pipe as lone surrogates, which no model can read."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{what} is not UTF-8 text; save or send it as UTF-8.") from None
