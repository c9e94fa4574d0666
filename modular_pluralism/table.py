"""What the tables of a pool have in common, be they read from a file or made in Python: a mistake is one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, time
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from modular_pluralism.checked import checked, hint, shown
from modular_pluralism.errors import ConfigurationError, InputError, PoolError

Text = Annotated[str, Field(min_length=1)]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What the name of a community or of a rule looks like."""
NAME_RULE = "is no usable name; write up to 64 letters, digits, '_' and '-', a letter or digit first"
"""What is said of another one."""


class Told(BaseModel):
    """A pydantic model that tells what is wrong with its arguments, or with those of `model_copy`, in one sentence.
    What is pydantic's alone, such as `model_validate`, still raises its ValidationError."""

    _error: ClassVar[type[ConfigurationError]] = InputError

    if not TYPE_CHECKING:  # or else type checkers would no longer know the fields

        def __init__(self, /, **given: Any) -> None:
            try:
                super().__init__(**given)
            except ValidationError as error:
                raise self._error(self._refusal(error.errors(include_url=False)[0], given)) from None

        # Or else pydantic would call it for a table within another one, whose place in that would be lost.
        __init__.__pydantic_base_init__ = True

    @classmethod
    def _refusal(cls, error: ErrorDetails, given: Mapping[str, Any]) -> str:  # noqa: ARG003 - a pool looks for its name
        """What is said of the first thing that is wrong with what was given."""
        key = str(error["loc"][0]) if error["loc"] else ""
        if error["type"] == "missing":
            return f"{cls.__name__}: there is no {key}; give it"
        return f"{cls.__name__}: {in_words(error, '', key, cls.model_fields)}"

    @checked
    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values for some keys, checked as a whole.

        Args:
            update: The values, by key.
            deep: Copy what the values hold, too.

        Returns:
            The copy.

        Raises:
            ConfigurationError: There is no such key, or the key has no such value.
        """
        names = {field.alias: name for name, field in type(self).model_fields.items() if field.alias}
        changes = {names.get(key, key): value for key, value in (update or {}).items()}
        known = type(self).model_fields
        for key in changes.keys() - known.keys():
            raise self._error(f"{type(self).__name__}: {unknown(key, known, is_table=False)}")
        if changes:
            whole = type(self)(**{name: getattr(self, name) for name in self.model_fields_set} | changes)
            changes = {name: getattr(whole, name) for name in changes}
        return super().model_copy(update=changes, deep=deep)


class Table(Told):
    """A table of a pool: values are not converted ("8" is no number), and unknown keys are refused."""

    _error: ClassVar[type[ConfigurationError]] = PoolError
    # The input is hidden because a key written into the wrong place would otherwise end up in a traceback.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    def unchecked(self, **parts: Any) -> Self:
        """A copy with parts that are right by themselves and need not fit together: for a pool that only we see."""
        return BaseModel.model_copy(self, update=parts)


# Words for messages: pydantic's errors, told in terms of the table

_EXPECTED = {
    "string_type": "text in quotes",
    "string_unicode": "valid Unicode text",
    "string_too_short": "text that is not empty",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "recursion_loop": "plain values that are nested less deeply",
    "finite_number": "a finite number",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "path_type": "a path",
    "is_instance_of": "a {class}",
    "tuple_type": "a list in brackets",
    "too_short": "a list that is not empty",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
}


def in_words(error: ErrorDetails, table: str, key: str, known: Iterable[str]) -> str:
    """One pydantic error as a sentence that names the table (in a file) and the key, of those that are known, and says
    what has to stand there."""
    if error["type"] == "extra_forbidden":
        return at(table) + unknown(key, known, is_table=False)
    if error["type"] == "value_error" and not key:  # one of our rules on a whole table, or on the whole pool
        return f"{at(table)}{error['ctx']['error']}"
    if error["type"] == "value_error":
        # What stands where a key's name belongs may well be the key itself; and the rules of a table name its key.
        tells = key == "api_key_env" or isinstance(error["input"], Mapping)
        return f"{at(table)}{key} {error['ctx']['error']}" + (
            "" if tells else f", not {brief(without_password(error['input']))}"
        )
    expected = _EXPECTED.get(error["type"]) or error["msg"].removeprefix("Input should be ")
    needed = expected.format(**error.get("ctx", {}))
    return f"{f'{table} {key}'.strip()} must be {needed}, not {brief(error['input'])}"


def unknown(key: str, known: Iterable[str], *, is_table: bool) -> str:
    """What is said of a key that is none of those that are known."""
    known = tuple(known)
    what = "table" if is_table else "key"
    return f"unknown {what} {brief(key)}; remove it, or use one of {', '.join(known)}{hint(key, known)}"


def at(table: str) -> str:
    """The table as the beginning of a sentence; empty where there is none."""
    return f"{table} " if table else ""


def brief(value: object) -> str:
    """A value as a message shows it: as TOML would write it, on one line, and never long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and len(value) <= 4 and all(isinstance(each, int | float) for each in value):
        return f"[{', '.join(map(brief, value))}]"
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else f"{value[:57]}...")
    if isinstance(value, int) and value.bit_length() > 200:
        return "a number with so many digits"  # Python refuses to print the longest ones
    return one_line(str(value)) if isinstance(value, int | float | date | time) else shown(value)


def one_line(text: str) -> str:
    """A text without line ends, and never long."""
    return repr(text)[1:-1][:200]


def one_space(text: str) -> str:
    """A text as attributes are compared: without white space around it, and with one space for any within."""
    return " ".join(text.split())


_SECRET_PART = re.compile(r"(?<=//)[^/?#]*@|[?#].*", re.DOTALL)


def without_password(value: Any) -> Any:
    """An address without the parts that may hold a password or a key, for people: also where it is written wrongly, or
    holds another one. Any other value as it is."""
    return _SECRET_PART.sub("", value) if isinstance(value, str) and "://" in value else value
