"""Whether a value follows a JSON schema of the keywords that a reply can be kept to (see schema_keywords)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_DEEPEST = 64
_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: _is_number(value),
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
}


def schema_problem(value: Any, schema: Mapping[str, Any]) -> str | None:
    """The first thing in a JSON value that the schema does not allow, such as "years: 120 is above 99"; None where it
    follows it. What a `format` says is not looked at."""
    return next(_Check(schema).problems(value, schema, ()), None)


class _Check:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def problems(self, value: Any, schema: Any, path: tuple[str, ...]) -> Iterator[str]:
        if schema is True or schema == {}:
            return
        if schema is False or len(path) > _DEEPEST:
            yield _told(path, f"{_shown(value)} may not be there")
            return
        if "$ref" in schema:
            yield from self.problems(value, self._found(schema["$ref"]), path)
        for said in (*_of_any(value, schema), *_OF_KIND.get(type(value), lambda *_: ())(value, schema)):
            yield _told(path, said)
        yield from self._combined(value, schema, path)
        if isinstance(value, dict):
            yield from self._members(value, schema, path)
        if isinstance(value, list):
            yield from self._entries(value, schema, path)

    def _found(self, reference: str) -> Any:
        found: Any = self._root
        for name in reference.removeprefix("#").split("/")[1:]:
            found = found[name.replace("~1", "/").replace("~0", "~")]
        return found

    def _fits(self, value: Any, schema: Any, path: tuple[str, ...]) -> bool:
        return next(self.problems(value, schema, path), None) is None

    def _combined(self, value: Any, schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
        for part in schema.get("allOf", ()):
            yield from self.problems(value, part, path)
        for name in ("anyOf", "oneOf"):
            fitting = [part for part in schema.get(name, ()) if self._fits(value, part, path)]
            if name in schema and not fitting:
                yield _told(path, f"{_shown(value)} is none of what it may be")
            if name == "oneOf" and len(fitting) > 1:
                yield _told(path, f"{_shown(value)} is more than one of what it may be")

    def _members(self, value: dict[str, Any], schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
        known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for name, member in value.items():
            fitting = [part for pattern, part in patterns.items() if re.search(pattern, name)]
            fitting += [known[name]] if name in known else []
            for part in fitting or [schema.get("additionalProperties", True)]:
                yield from self.problems(member, part, (*path, name))

    def _entries(self, value: list[Any], schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
        items = schema.get("items", True)
        first = schema.get("prefixItems", items if isinstance(items, list) else [])
        rest = schema.get("additionalItems", True) if isinstance(items, list) else items
        for place, entry in enumerate(value):
            yield from self.problems(entry, first[place] if place < len(first) else rest, (*path, str(place)))


def _of_any(value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    kinds = schema.get("type")
    if kinds is not None and not any(_TYPES[kind](value) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        yield f"{_shown(value)} is no {kinds if isinstance(kinds, str) else ' or '.join(kinds)}"
    if "const" in schema and not _same(value, schema["const"]):
        yield f"{_shown(value)} is not {_shown(schema['const'])}"
    if "enum" in schema and not any(_same(value, each) for each in schema["enum"]):
        yield f"{_shown(value)} is none of {', '.join(map(_shown, schema['enum'][:10]))}"


def _of_number(value: float, schema: Mapping[str, Any]) -> Iterator[str]:
    for name, wrong, told in (
        ("minimum", lambda bound: value < bound, "below"),
        ("exclusiveMinimum", lambda bound: value <= bound, "not above"),
        ("maximum", lambda bound: value > bound, "above"),
        ("exclusiveMaximum", lambda bound: value >= bound, "not below"),
        (
            "multipleOf",
            lambda step: not math.isclose(value / step, round(value / step), rel_tol=1e-9),
            "no multiple of",
        ),
    ):
        if name in schema and wrong(schema[name]):
            yield f"{_shown(value)} is {told} {schema[name]}"


def _of_text(value: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield from _counted(len(value), schema, "Length", "characters")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{_shown(value)} does not match {schema['pattern']}"


def _of_list(value: list[Any], schema: Mapping[str, Any]) -> Iterator[str]:
    yield from _counted(len(value), schema, "Items", "entries")


def _of_object(value: dict[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{name} is missing"
    yield from _counted(len(value), schema, "Properties", "members")


_OF_KIND: Mapping[type, Callable[[Any, Mapping[str, Any]], Iterator[str]]] = {
    int: _of_number,
    float: _of_number,
    str: _of_text,
    list: _of_list,
    dict: _of_object,
}


def _counted(count: int, schema: Mapping[str, Any], what: str, told: str) -> Iterator[str]:
    if count < schema.get(f"min{what}", 0):
        yield f"it has {count} {told} and needs {schema[f'min{what}']}"
    if count > schema.get(f"max{what}", count):
        yield f"it has {count} {told} and may have {schema[f'max{what}']}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _divides(step: float, value: float) -> bool:
    return math.isclose(value / step, round(value / step), rel_tol=1e-9)


def _same(one: Any, other: Any) -> bool:
    """To Python, True is 1; JSON tells them apart, and 1 and 1.0 not."""
    if _is_number(one) and _is_number(other):
        return bool(one == other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return type(one) is type(other) and bool(one == other)


def _told(path: tuple[str, ...], said: str) -> str:
    return f"{'.'.join(path)}: {said}" if path else said


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
