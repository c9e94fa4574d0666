"""What a schema allows, against a validator of others."""

from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.llama.schema_check import schema_problem

SCHEMAS: list[dict[str, Any]] = [
    {"type": ["integer", "null"], "minimum": 0, "exclusiveMaximum": 3},
    {"type": "number", "exclusiveMinimum": -1, "maximum": 2, "multipleOf": 0.5},
    {"type": "string", "minLength": 1, "maxLength": 2, "pattern": "^[ab]"},
    {"enum": [1, "a", None, [0]]},
    {"const": True},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2},
    {"type": "array", "prefixItems": [{"const": 1}, {"type": "string"}], "items": {"type": "null"}},
    {"anyOf": [{"type": "boolean"}, {"minimum": 1, "type": "integer"}]},
    {"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 1}]},
    {"allOf": [{"type": "object"}, {"required": ["a"]}]},
    {
        "properties": {"a": {"type": "integer"}},
        "patternProperties": {"^b": {"type": "string"}},
        "additionalProperties": False,
    },
    {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": {"type": "integer"}},
    {"$defs": {"tree": {"additionalProperties": {"$ref": "#/$defs/tree"}, "type": "object"}}, "$ref": "#/$defs/tree"},
    {"properties": {"a": False, "b": True}},
]
TEXTS = st.sampled_from(["", "a", "b", "ab", "cab", "b12"])
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-2, 4), st.sampled_from([0.5, 1.0, 2.5]), TEXTS)
NAMES = st.sampled_from(["a", "b", "bc", "d"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "bc", "d"]), inner, max_size=2)
    ),
    max_leaves=5,
)


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
@given(value=VALUES)
def test_what_is_allowed_is_what_others_allow(schema: dict[str, Any], value: Any) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    assert (schema_problem(value, schema) is None) == validator.is_valid(value)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"who": [{"age": 120}]}, "who.0.age: 120 is above 99"),
        ({"who": [{}]}, "who.0: age is missing"),
        ({"who": [{"age": 1}], "more": 1}, "more: 1 may not be there"),
        ({"who": []}, "who: it has 0 entries and needs 1"),
        ("x" * 100, f'"{"x" * 56}... is no object'),
    ],
)
def test_a_problem_is_told_with_its_place(value: Any, says: str) -> None:
    person = {"type": "object", "properties": {"age": {"maximum": 99}}, "required": ["age"]}
    who = {"type": "array", "items": person, "minItems": 1}
    schema = {"type": "object", "properties": {"who": who}, "additionalProperties": False}
    assert schema_problem(value, schema) == says
