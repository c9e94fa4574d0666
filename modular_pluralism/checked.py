"""Arguments of public functions, checked where they come in: a wrong kind is told in one sentence that names it."""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from functools import lru_cache, wraps
from inspect import signature
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from modular_pluralism.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

_NOUNS: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "truth value",
    Mapping: "dict",
    dict: "dict",
    Callable: "function",
    type: "class",
}
_LONGEST = 60


class Problem(NamedTuple):
    """What does not fit: where it stands, what it is, and what belongs there."""

    place: str
    value: object
    wanted: Any

    def __str__(self) -> str:
        if get_origin(self.wanted) is Literal and all(isinstance(each, str) for each in get_args(self.wanted)):
            return no_such(self.place, self.value, get_args(self.wanted))
        if isinstance(self.value, Mapping) and (missing := _missing_keys(self.value, self.wanted)):
            return f"{self.place} has no {missing[0]!r}; a {self.wanted.__name__} has {', '.join(missing)}."
        return f"{self.place} is {shown(self.value)}; give {_described(self.wanted)}."


def no_such(what: str, value: object, known: Iterable[object]) -> str:
    """What is said of a word that is none of those that are known."""
    names = ", ".join(map(str, known))
    if isinstance(value, str):
        return f"There is no {what} {shown(value)}; use {names}."
    return f"The {what} is {shown(value)}; give its name: {names}."


def hint(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant, as the end of a sentence; empty where none is near."""
    close = get_close_matches(name[:100], list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Check the arguments of a function against its type hints before it begins. What is missing or unknown stays
    Python's own TypeError.

    Raises (in the function):
        InputError: an argument is of the wrong kind.
    """
    parameters = signature(function)
    name = function.__qualname__.removesuffix(".__init__")

    @wraps(function)
    def called(*positional: P.args, **named: P.kwargs) -> R:
        try:
            given = parameters.bind(*positional, **named).arguments
        except TypeError:
            return function(*positional, **named)  # says so itself
        hints = _hints(function)
        for argument, value in given.items():
            if argument in hints and (problem := find_problem(value, hints[argument], argument)):
                raise InputError(f"{name}: {problem}")
        return function(*positional, **named)

    return called


def check_fields(made: Any) -> None:
    """Check a dataclass's fields against their type hints.

    Raises:
        InputError: a field is of the wrong kind.
    """
    hints = _hints(made.__class__)
    for field in fields(made):
        if problem := find_problem(getattr(made, field.name), hints[field.name], field.name):
            raise InputError(f"{type(made).__name__}: {problem}")


@lru_cache(None)
def _hints(owner: Any) -> dict[str, Any]:
    # Later than at the definition: what hints name may be imported below it.
    return {name: hint for name, hint in get_type_hints(owner, include_extras=True).items() if name != "return"}


def find_problem(value: object, hint: Any, place: str) -> Problem | None:
    """What does not fit a type hint, or None. What cannot be told at run time fits."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return find_problem(value, arguments[0], place)
    if origin in (Union, types.UnionType):
        problems = [find_problem(value, each, place) for each in arguments]
        if None in problems:
            return None
        # Of a dict with a wrong entry, the entry is what has to be told.
        deeper = [each for each in problems if each is not None and each.place != place]
        return deeper[0] if deeper else Problem(place, value, hint)
    if origin is Literal:
        fits = any(type(value) is type(each) and value == each for each in arguments)
        return None if fits else Problem(place, value, hint)
    return next(_problems(value, hint, place), None)


def _problems(value: object, hint: Any, place: str) -> Iterator[Problem]:
    kind = get_origin(hint) or hint
    if hint is None:
        kind = types.NoneType
    if not _is_a(value, kind) or (isinstance(value, Mapping) and _missing_keys(value, kind)):
        yield Problem(place, value, hint)
    elif isinstance(value, Mapping) and len(get_args(hint)) == 2:
        _, of_value = get_args(hint)
        for key, entry in value.items():
            if not isinstance(key, str):
                yield Problem(f"a name in {place}", key, str)
            if problem := find_problem(entry, of_value, f"{place}[{key!r}]"):
                yield problem
    elif isinstance(value, Collection) and get_args(hint) and kind is not str and issubclass(kind, Iterable):
        for number, entry in enumerate(value):
            if problem := find_problem(entry, get_args(hint)[0], f"{place}[{number}]"):
                yield problem


def _is_a(value: object, kind: Any) -> bool:
    if kind in (int, float):
        return isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    if hasattr(kind, "__required_keys__"):  # a TypedDict
        return isinstance(value, Mapping)
    if (
        kind is not str
        and isinstance(kind, type)
        and issubclass(kind, Iterable)
        and kind.__module__ == "collections.abc"
    ):
        return isinstance(value, kind) and not isinstance(value, str | bytes)
    try:
        return isinstance(value, kind)
    except TypeError:  # a variable, Any, or a protocol that cannot be told
        return True


def _missing_keys(value: Mapping[Any, Any], kind: Any) -> list[str]:
    required: set[str] = set(getattr(kind, "__required_keys__", ())) - set(value)
    if not required:
        return []
    # Where annotations are texts, Python takes every key of a class for one that is required.
    hints = get_type_hints(kind, include_extras=True)
    return sorted(key for key in required if get_origin(hints[key]) is not NotRequired)


def shown(value: object) -> str:
    """A value as a message shows it: a short text or number as it is, of all else its kind."""
    if value is None or isinstance(value, str | int | float):
        text = repr(value)
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return _with_article(type(value).__name__)


def _described(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _described(arguments[0])
    if origin is Literal:
        return _either([repr(each) for each in arguments])
    if origin in (Union, types.UnionType):
        return _either(list(dict.fromkeys(map(_described, arguments))))
    if hint is None or hint is types.NoneType:
        return "None"
    if isinstance(origin, type) and issubclass(origin, Mapping) and len(arguments) == 2:
        return "a dict by name" if arguments[1] is Any else f"a dict of {_several(arguments[1])} by name"
    if isinstance(origin, type) and issubclass(origin, Iterable) and arguments:
        return "a list" if arguments[0] is Any else f"a list of {_several(arguments[0])}"
    return _with_article(_noun(hint))


def _several(hint: Any) -> str:
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return _either(list(dict.fromkeys(f"{_noun(each)}s" for each in parts)))


def _noun(hint: Any) -> str:
    kind = get_origin(hint) or hint
    return _NOUNS.get(kind) or str(getattr(kind, "__name__", kind))


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'AEIOUaeiou' else 'a'} {noun}"


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
