"""Texts that keep to a JSON schema, on an embedded model."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from modular_pluralism.errors import InputError, ModelLoadError
from modular_pluralism.llama import ChatLlama
from modular_pluralism.llama.grammar import JSON_OBJECT, grammar_of_schema, grammar_tokenizer
from modular_pluralism.llama.reading import continuations, prompt_tokens
from tests.random_model import RANDOM_GGUF

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "note": {"enum": ['a "quoted" word', "back\\slash", "naïve"]},
    },
    "required": ["name", "age", "note"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def model() -> Iterator[ChatLlama]:
    model = ChatLlama(gguf=RANDOM_GGUF, max_tokens=120, slots=4)
    yield model
    model.engine.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_text_keeps_to_the_schema_whatever_is_drawn(model: ChatLlama, seed: int) -> None:
    grammar = grammar_of_schema(PERSON)
    reply = model.invoke("Tell me about somebody.", grammar=grammar, seed=seed, temperature=1.5)
    assert reply.response_metadata["finish_reason"] == "stop"
    jsonschema.validate(json.loads(str(reply.content)), PERSON)


async def test_with_a_grammar_and_without_side_by_side(model: ChatLlama) -> None:
    alone = await model.ainvoke("What is a city?", seed=1, max_tokens=20)
    free, *guided = await asyncio.gather(
        model.ainvoke("What is a city?", seed=1, max_tokens=20),
        model.ainvoke("What is a city?", seed=1, max_tokens=20, grammar=JSON_OBJECT),
        model.ainvoke("Tell me about somebody.", seed=1, max_tokens=20, grammar=JSON_OBJECT),
    )
    assert all(str(each.content).lstrip().startswith("{") for each in guided)
    assert free.content == alone.content


def test_log_probabilities_are_those_before_the_grammar(model: ChatLlama) -> None:
    reply = model.invoke("Say hello.", grammar=JSON_OBJECT, max_tokens=3, temperature=0, logprobs=True, top_logprobs=1)
    first = reply.response_metadata["logprobs"]["content"][0]
    assert first["token"].lstrip().startswith("{")
    assert first["top_logprobs"][0]["logprob"] > first["logprob"]  # the model would have said something else


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "string", "pattern": "(?=x)"}, "look-around"),
        ({"type": "person"}, "Invalid type"),
        ({"not": {"type": "string"}}, "not"),
        ({"$ref": "http://example.org/schema"}, "fetch"),
        ({"type": "number", "minimum": float("nan")}, "JSON"),
    ],
)
def test_a_schema_that_no_grammar_can_express(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        grammar_of_schema(schema)


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"propertys": {}}, "propertys"),
        ({"properties": {"age": {"type": "integer", "minmum": 3}}}, "properties.age.minmum"),
        ({"type": "array", "items": {"anyOf": [{}, {"nullable": True}]}}, "items.anyOf.1.nullable"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"additionalProperties": {"uniqueItems": True}}}}, "uniqueItems"),
        ({"x-guidance": {"lenient": True}}, "x-guidance"),
    ],
)
def test_a_keyword_that_constrains_nothing_is_named(schema: dict[str, Any], place: str) -> None:
    with pytest.raises(InputError, match=f"{place} is no keyword that a reply can be kept to; leave it out"):
        grammar_of_schema(schema)


def test_a_schema_has_so_many_parts_at_most() -> None:
    def wide(count: int) -> dict[str, Any]:
        return {"type": "object", "properties": {f"p{place}": {"type": "string"} for place in range(count)}}

    assert grammar_of_schema(wide(200))
    with pytest.raises(InputError, match=r"holds more than 1024 schemas .*; make it smaller"):
        grammar_of_schema({"anyOf": [wide(500), wide(500), wide(500)]})


def test_names_and_values_in_a_schema_are_no_keywords() -> None:
    named = {"foo": True, "items": {"const": {"foo": 1}}, "not": {"enum": [{"bar": 1}], "default": {"bar": 2}}}
    assert grammar_of_schema({"title": "T", "type": "object", "properties": named, "additionalProperties": False})


def test_without_llguidance_it_is_told_what_to_install(model: ChatLlama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(ModelLoadError, match=r"pip install 'modular-pluralism\[serve\]'"):
        grammar_of_schema(PERSON)
    with pytest.raises(ModelLoadError, match="need llguidance"):
        grammar_tokenizer(model.engine.model)


def test_a_grammar_that_cannot_be_read(model: ChatLlama) -> None:
    with pytest.raises(InputError, match="The grammar cannot be used"):
        model.invoke("Hello", grammar="no grammar at all {")


def test_a_huge_schema_fails_alone(model: ChatLlama) -> None:
    """What llguidance cannot follow within its limits ends that text only."""
    wide = {"type": "object", "properties": {f"p{place}": {"type": "string"} for place in range(800)}}
    with pytest.raises(InputError, match="grammar cannot be followed"):
        model.invoke("Hello", grammar=grammar_of_schema(wide), max_tokens=5, temperature=0)
    assert model.invoke("Hello", max_tokens=2).content


async def test_every_token_of_a_prompt_has_its_log_probability(model: ChatLlama) -> None:
    engine = await model.aload()
    tokens = engine.model.tokenize("The capital of France is Paris. It is", parse_special=False)
    entries = await engine.aread(prompt_tokens(tokens, top=3))
    assert [each.token for each in entries] == tokens[1:]
    expected = engine.read(continuations(tokens[:1], [tokens[1:]]))[0]
    assert [each.logprob for each in entries] == pytest.approx(expected.tolist())
    for each in entries:
        assert [logprob for _, logprob in each.top] == sorted((logprob for _, logprob in each.top), reverse=True)
        assert each.top[0][1] >= each.logprob
    with pytest.raises(InputError, match="nothing to read"):
        await engine.aread(prompt_tokens(tokens[:1], top=3))
