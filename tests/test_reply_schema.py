"""Replies that have to follow a JSON schema: what is wrong with one is told with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modular_pluralism.errors import InputError, NoUsableReplyError
from modular_pluralism.llama.reply_schema import ReplySchema

PERSON = {"type": "object", "properties": {"age": {"maximum": 99}}, "required": ["age"]}
SCHEMA = {
    "type": "object",
    "properties": {"who": {"type": "array", "items": {"$ref": "#/$defs/person"}, "minItems": 1}},
    "additionalProperties": False,
    "$defs": {"person": PERSON},
}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"who": [{"age": 120}]}, r"who\.0\.age: 120 is greater than the maximum of 99"),
        ({"who": [{}]}, r"who\.0: 'age' is a required property"),
        ({"who": [{"age": 1}], "more": 1}, "'more' was unexpected"),
        ({"who": []}, "who: "),
        ("x" * 1000, r"'xxx.{196}\)"),
        (None, "None is not of type 'object'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(value: Any, says: str) -> None:
    with pytest.raises(NoUsableReplyError, match=says):
        ReplySchema.of(SCHEMA).read(json.dumps(value))


def test_what_follows_the_schema_is_read() -> None:
    assert ReplySchema.of(SCHEMA).read('{"who": [{"age": 3}]}') == {"who": [{"age": 3}]}


def test_what_is_no_json_or_too_deep_is_told() -> None:
    tree = {"$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "$ref": "#/$defs/tree"}
    with pytest.raises(NoUsableReplyError, match="it is no JSON"):
        ReplySchema.of(tree).read("[")
    with pytest.raises(NoUsableReplyError, match=r"nested too deeply|it is no JSON"):
        ReplySchema.of(tree).read("[" * 900 + "]" * 900)


def test_a_schema_that_is_nested_too_deeply_is_refused() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    for _ in range(500):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(InputError, match=r"nested too deeply; make it flatter\.$"):
        ReplySchema.of(schema)


def test_a_schema_that_is_none_or_refers_elsewhere_is_refused() -> None:
    with pytest.raises(InputError, match=r"The JSON schema is none: .thing. is not valid"):
        ReplySchema.of({"type": "thing"})
    with pytest.raises(InputError, match=r"refers to .http://127\.0\.0\.1:9/s., which it does not hold"):
        ReplySchema.of({"$ref": "http://127.0.0.1:9/s"}).read("3")
