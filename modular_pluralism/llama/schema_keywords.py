"""What may stand in a JSON schema that a text is to keep to. llguidance passes over a keyword that it does not know, so
that a misspelled one would be no constraint at all; here it is found before."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from modular_pluralism.errors import InputError

_LONGEST = 200
MOST_SCHEMAS = 1024
"""Schemas within a schema: of properties, items, members of unions. What follows them takes time in their square."""
_OF_ONE = {"items", "additionalItems", "additionalProperties"}
_OF_SEVERAL = {"items", "prefixItems", "anyOf", "oneOf", "allOf"}
_BY_NAME = {"properties", "patternProperties", "$defs", "definitions"}
_OF_VALUES = {
    *("$ref", "type", "const", "enum", "required", "minProperties", "maxProperties", "minItems", "maxItems"),
    *("minLength", "maxLength", "pattern", "format"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_FOR_PEOPLE = {
    *("$schema", "$id", "id", "$anchor", "$comment", "title", "description", "default", "examples"),
    *("deprecated", "readOnly", "writeOnly", "discriminator"),
}
"""They constrain nothing. A discriminator, which pydantic writes, tells which member of a union is meant."""
_KNOWN = _OF_ONE | _OF_SEVERAL | _BY_NAME | _OF_VALUES | _FOR_PEOPLE


def check_keywords(schema: Mapping[str, Any]) -> None:
    """Raise InputError where a keyword would constrain nothing, or the schema has too many parts to be followed."""
    if (place := unknown_keyword(schema)) is not None:
        told = " ".join(place.split())
        told = told if len(told) <= _LONGEST else f"{told[: _LONGEST - 3]}..."
        raise InputError(
            f"The JSON schema cannot be used: {told.rstrip(' .')} is no keyword that a reply can be kept to; leave it "
            "out."
        )


def unknown_keyword(schema: Mapping[str, Any]) -> str | None:
    """Where the first keyword that constrains nothing stands, such as "properties.age.minmum"; None: there is none.

    Raises:
        InputError: the schema has too many parts to be looked at.
    """
    left: list[tuple[tuple[str, ...], Any]] = [((), schema)]
    looked_at = 0
    while left:
        path, part = left.pop()
        looked_at += 1
        if looked_at > MOST_SCHEMAS:
            raise InputError(
                f"The JSON schema cannot be used: it holds more than {MOST_SCHEMAS} schemas (of properties, items and "
                "members of unions); make it smaller."
            )
        if not isinstance(part, Mapping):  # true and false are schemas, too; anything else llguidance refuses
            continue
        for name in part:
            if name not in _KNOWN:
                return ".".join((*path, str(name)))
        left += _inner(path, part)
    return None


def _inner(path: tuple[str, ...], schema: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in schema.items():
        if name in _BY_NAME and isinstance(value, Mapping):
            yield from (((*path, name, str(key)), inner) for key, inner in value.items())
        elif name in _OF_SEVERAL and isinstance(value, list):
            yield from (((*path, name, str(place)), inner) for place, inner in enumerate(value))
        elif name in _OF_ONE:
            yield (*path, name), value


def closed_objects(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema, whose objects have no members but those that are named: a small model would write others for ever."""
    closed = copy.deepcopy(dict(schema))
    left: list[Any] = [closed]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            if isinstance(part.get("properties"), dict) and part.get("type") == "object":
                part.setdefault("additionalProperties", False)
            left += [inner for name, inner in part.items() if name not in ("default", "const", "enum", "examples")]
    return closed
