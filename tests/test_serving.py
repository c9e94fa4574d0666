"""The clients that people have, against a real server over an embedded model."""

from __future__ import annotations

import http.client
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from modular_pluralism import LlamaEmbeddings, Pool, build_overton
from tests.command import pluralism
from tests.fake_models import wait_until
from tests.listening import hung_up_on
from tests.random_model import RANDOM_GGUF, can_write
from tests.serving_process import POOL, Served, served
from tests.short_pool import pair_pool
from tests.tiny_gguf import write_lora

KEY = "a-key-of-the-tests-0123456789"
SECRET_QUESTION = "Should the zebra crossing be purple?"
ITEMS = [
    ("The capital of France is", [" Paris", " a banana", " seventeen"], 0),
    ("Two plus two is", [" four", " a green horse", " Paris"], 0),
    ("The sun rises in the", [" shoe", " east", " soup"], 1),
    ("The moon is to be seen in the", [" night", " light", " great home"], 0),
    ("Water is made of hydrogen and", [" oxygen", " paper", " Tuesday"], 2),
]
"""Context, choices, and what the task file says is right: the last is wrong on purpose, so that accuracy is not 1.
After the choices of the moon the model ends its text."""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    write_lora(folder / "south.gguf", seed=1)
    file = folder / "pool.toml"
    file.write_text(POOL.format(south='lora = "south.gguf"'))
    return file


@pytest.fixture(scope="module")
def server(pool: Path) -> Iterator[Served]:
    with served(pool, key=f"another-key-0123456789,{KEY}") as running:
        running.key = KEY
        yield running


@pytest.fixture(scope="module")
def client(server: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url, api_key=KEY, max_retries=0, timeout=300)


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


# -- the official client -----------------------------------------------------------------------------------------------


def test_models(client: openai.OpenAI) -> None:
    ids = [model.id for model in client.models.list()]
    assert ids == [
        *("base", "community/north", "community/south"),
        *("pluralism/overton", "pluralism/steerable", "pluralism/distributional", "pluralism/assembly"),
    ]
    assert client.models.retrieve("community/south").owned_by == "pool"
    with pytest.raises(openai.NotFoundError, match="community/north"):
        client.models.retrieve("community/west")


def test_a_seed_repeats_an_answer_and_each_choice_has_its_own(client: openai.OpenAI) -> None:
    def ask(**more: Any) -> Any:
        return client.chat.completions.create(model="community/north", max_tokens=8, **asked("Hello", **more))

    first, again = ask(seed=3, n=3), ask(seed=3, n=3)
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert len(set(texts)) > 1
    assert ask(seed=3).choices[0].message.content == texts[0]
    assert first.usage.completion_tokens <= 24
    assert again.usage.prompt_tokens == first.usage.prompt_tokens
    assert again.usage.prompt_tokens_details.cached_tokens > 0
    seed = ask().model_extra["pluralism"]["seed"]
    assert isinstance(seed, int)


def test_stream(client: openai.OpenAI) -> None:
    settings: dict[str, Any] = {"model": "base", "max_tokens": 8, "seed": 5, "temperature": 0.5}
    whole = client.chat.completions.create(**settings, **asked("Tell me of the sea."))
    chunks = list(
        client.chat.completions.create(
            **settings, **asked("Tell me of the sea."), stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    assert chunks[-1].usage.completion_tokens == 8
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


def test_streamed_choices_do_not_mix(client: openai.OpenAI) -> None:
    settings: dict[str, Any] = {"model": "base", "max_tokens": 6, "seed": 5, "n": 2}
    texts = ["", ""]
    for chunk in client.chat.completions.create(**settings, **asked("Hello"), stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    whole = client.chat.completions.create(**settings, **asked("Hello"))
    assert texts == [choice.message.content for choice in whole.choices]


def test_logprobs(client: openai.OpenAI) -> None:
    settings: dict[str, Any] = {"model": "base", "max_tokens": 4, "temperature": 0, "logprobs": True}
    reply = client.chat.completions.create(**settings, **asked("Hello"), top_logprobs=3)
    entries = reply.choices[0].logprobs.content
    assert "".join(entry.token for entry in entries) == reply.choices[0].message.content
    for entry in entries:
        assert len(entry.top_logprobs) == 3
        assert entry.logprob == max(other.logprob for other in entry.top_logprobs)  # greedy
    streamed = client.chat.completions.create(**settings, **asked("Hello"), stream=True)
    found = [
        each.logprob
        for chunk in streamed
        for choice in chunk.choices
        if choice.logprobs
        for each in choice.logprobs.content
    ]
    assert found == pytest.approx([entry.logprob for entry in entries], abs=0.05)


def test_stop(client: openai.OpenAI) -> None:
    settings: dict[str, Any] = {"model": "base", "max_tokens": 12, "temperature": 0}
    whole = client.chat.completions.create(**settings, **asked("Count from one to ten.")).choices[0].message.content
    word = whole.split()[2]
    reply = client.chat.completions.create(**settings, **asked("Count from one to ten.", stop=[word, "no such text"]))
    assert reply.choices[0].finish_reason == "stop"
    assert reply.choices[0].message.content == whole[: whole.index(word)]


def test_a_reply_keeps_to_its_json_schema(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"enum": ["yes", "no"]}, "years": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["answer", "years"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": True}}
    for model in ("base", "community/south"):
        reply = client.chat.completions.create(
            model=model, max_tokens=64, seed=1, **asked("Is it old?", response_format=wanted)
        )
        said = json.loads(reply.choices[0].message.content)
        assert set(said) == {"answer", "years"}
        assert said["answer"] in ("yes", "no")
        assert 0 <= said["years"] <= 99
    wanted["json_schema"] = {"name": "reply", "schema": {"type": "object", "not": {}}}
    with pytest.raises(openai.BadRequestError, match="schema"):
        client.chat.completions.create(model="base", **asked("Hello", response_format=wanted))
    schema["properties"]["years"]["maximun"] = 9  # type: ignore[index]
    wanted["json_schema"] = {"name": "reply", "schema": schema}
    with pytest.raises(openai.BadRequestError, match=r"properties\.years\.maximun is no keyword") as caught:
        client.chat.completions.create(model="base", **asked("Hello", response_format=wanted))
    assert caught.value.param == "response_format.json_schema.schema"


def test_json_object(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="base", max_tokens=40, seed=2, **asked("Describe a cat.", response_format={"type": "json_object"})
    )
    assert reply.choices[0].message.content.startswith("{")
    if reply.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(reply.choices[0].message.content), dict)


def test_the_persona_is_the_servers(client: openai.OpenAI, pool: Path) -> None:
    def ask(model: str, *system: str) -> Any:
        turns = [*({"role": "system", "content": text} for text in system), {"role": "user", "content": "Who are you?"}]
        return client.chat.completions.create(model=model, max_tokens=6, temperature=0, messages=turns)  # type: ignore[arg-type]

    persona = Pool.load(pool).persona_text("north")
    assert persona is not None
    north, by_hand = ask("community/north"), ask("base", persona)
    assert by_hand.choices[0].message.content == north.choices[0].message.content
    assert by_hand.usage.prompt_tokens == north.usage.prompt_tokens
    below = ask("community/north", "Be brief.", "Be kind.")
    assert below.usage.prompt_tokens == ask("base", f"{persona}\n\nBe brief.\n\nBe kind.").usage.prompt_tokens


def test_the_adapter_is_the_servers(client: openai.OpenAI) -> None:
    def scores(model: str) -> list[float]:
        done = client.completions.create(
            model=model, prompt="Paris is the capital", max_tokens=0, echo=True, logprobs=0
        )
        assert done.choices[0].logprobs is not None
        return [score for score in done.choices[0].logprobs.token_logprobs or [] if score is not None]

    assert scores("community/north") == scores("base")
    assert max(abs(one - other) for one, other in zip(scores("community/south"), scores("base"), strict=True)) > 0.2


# -- the modes ---------------------------------------------------------------------------------------------------------


def test_overton_streams_what_it_answers(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="pluralism/overton", seed=7, **asked(SECRET_QUESTION))
    facts = whole.model_extra["pluralism"]
    assert facts["missing"] == []
    assert facts["seed"] == 7
    assert list(facts["comments"]) == ["north", "south"]
    assert whole.choices[0].message.content
    said = [comment["completion_tokens"] for comment in facts["comments"].values()]
    assert sum(said) < whole.usage.completion_tokens <= sum(said) + 16
    chunks = list(
        client.chat.completions.create(model="pluralism/overton", seed=7, stream=True, **asked(SECRET_QUESTION))
    )
    assert len(chunks) > 4
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == text.strip() != ""
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")
    assert chunks[-1].model_extra["pluralism"]["missing"] == []


def test_steerable(client: openai.OpenAI) -> None:
    by_metadata = client.chat.completions.create(
        model="pluralism/steerable",
        seed=1,
        max_tokens=8,
        temperature=0.2,
        metadata={"attribute": "the right to privacy"},
        **asked("Should wages be public?"),
    )
    facts = by_metadata.model_extra["pluralism"]
    assert facts["selected"]["community"] in ("north", "south")
    assert by_metadata.choices[0].message.content
    options = client.chat.completions.create(
        model="pluralism/steerable",
        seed=1,
        **asked("Attribute: the right to privacy\nOption: Yes\nOption: No\n\nShould wages be public?"),
    )
    assert options.choices[0].message.content in ("Yes", "No")
    assert options.model_extra["pluralism"]["distribution"]["samples"] is None
    with pytest.raises(openai.BadRequestError, match="needs an attribute"):
        client.chat.completions.create(model="pluralism/steerable", **asked("Should wages be public?"))


MOOD = {
    "name": "mood",
    "schema": {
        "type": "object",
        "properties": {"mood": {"enum": ["good", "bad"]}},
        "required": ["mood"],
        "additionalProperties": False,
    },
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", ["overton", "steerable"])
def test_the_answer_of_a_mode_follows_a_schema(client: openai.OpenAI, mode: str, stream: bool) -> None:
    reply = client.chat.completions.create(
        model=f"pluralism/{mode}",
        seed=1,
        stream=stream,
        response_format={"type": "json_schema", "json_schema": MOOD},  # type: ignore[call-overload]
        **({"metadata": {"attribute": "age"}} if mode == "steerable" else {}),
        **asked("Should wages be public?"),
    )
    parts = list(reply) if stream else [reply]
    said = "".join((part.choices[0].delta if stream else part.choices[0].message).content or "" for part in parts)
    assert json.loads(said)["mood"] in ("good", "bad")
    assert parts[-1].model_extra["pluralism"]["structured"] == json.loads(said)


def test_a_schema_is_refused_where_nothing_is_written(client: openai.OpenAI) -> None:
    wanted: Any = {"type": "json_schema", "json_schema": MOOD}
    options = "Attribute: age\nOption: Yes\nOption: No\n\nShould wages be public?"
    with pytest.raises(openai.BadRequestError, match="response_format is for a written answer"):
        client.chat.completions.create(model="pluralism/steerable", response_format=wanted, **asked(options))
    with pytest.raises(openai.BadRequestError, match="response_format is not supported by pluralism/distributional"):
        client.chat.completions.create(model="pluralism/distributional", response_format=wanted, **asked(options))
    wanted = {"type": "json_schema", "json_schema": {"name": "odd", "schema": {"not": {}}}}
    with pytest.raises(openai.BadRequestError, match="not is no keyword") as caught:
        client.chat.completions.create(model="pluralism/overton", response_format=wanted, **asked("Why?"))
    assert caught.value.param == "response_format.json_schema.schema"


def test_distributional(client: openai.OpenAI) -> None:
    by_header = client.chat.completions.create(
        model="pluralism/distributional", seed=1, **asked("Option: Yes\nOption: No\n\nShould wages be public?")
    )
    said = json.loads(by_header.choices[0].message.content)
    assert list(said["distribution"]) == ["Yes", "No"]
    assert math.fsum(said["distribution"].values()) == pytest.approx(1)
    facts = by_header.model_extra["pluralism"]
    assert list(facts["distributions"]) == ["north", "south"]
    assert facts["samples"] is None
    chunks = list(
        client.chat.completions.create(
            model="pluralism/distributional",
            seed=1,
            stream=True,
            metadata={"options": '["Yes", "No"]'},
            **asked("Should wages be public?"),
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    streamed = json.loads(text)["distribution"]
    assert streamed["Yes"] == pytest.approx(said["distribution"]["Yes"], abs=0.05)


def test_communities_vote_where_the_server_was_started_so(pool: Path) -> None:
    with served(pool, "--voice", "vote", key=KEY) as voting:
        client = openai.OpenAI(base_url=voting.url, api_key=KEY, max_retries=0, timeout=300)
        reply = client.chat.completions.create(
            model="pluralism/distributional", seed=1, **asked("Option: Yes\nOption: No\n\nShould wages be public?")
        )
    assert math.fsum(json.loads(reply.choices[0].message.content)["distribution"].values()) == pytest.approx(1)
    facts = reply.model_extra["pluralism"]
    assert list(facts["distributions"]) == ["north", "south"]
    assert not facts.get("comments")
    assert reply.usage.completion_tokens == 0  # nobody has written anything


@pytest.mark.model
def test_the_demo_model_answers_as_a_mode_and_as_a_community(tmp_path: Path) -> None:
    with served(pair_pool(tmp_path)) as running, openai.OpenAI(base_url=running.url, api_key="none") as client:
        overton, community = (
            client.chat.completions.create(model=model, max_tokens=12, seed=1, **asked("Should wages be public?"))
            for model in ("pluralism/overton", "community/left")
        )
    assert overton.choices[0].message.content
    assert overton.model_extra is not None
    assert overton.model_extra["pluralism"]["missing"] == []
    assert not all(can_write(str(reply.choices[0].message.content)) for reply in (overton, community))


# -- errors ------------------------------------------------------------------------------------------------------------


def test_errors_are_those_of_the_official_client(server: Served, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"n is 9.*at most 8") as caught:
        client.chat.completions.create(model="base", n=9, **asked("Hello"))
    assert caught.value.code == "limit"
    assert caught.value.param == "n"
    with pytest.raises(openai.BadRequestError, match="audio is not supported"):
        client.chat.completions.create(model="base", audio={"format": "mp3", "voice": "alloy"}, **asked("Hello"))
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4o'"):
        client.chat.completions.create(model="gpt-4o", **asked("Hello"))
    with pytest.raises(openai.AuthenticationError, match="not one of this server's"):
        openai.OpenAI(base_url=server.url, api_key=f"{KEY}x", max_retries=0).models.list()


@pytest.mark.parametrize("model", ["base", "community/north", "pluralism/overton"])
def test_a_prompt_that_is_too_long_is_told_with_both_lengths(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError, match=r"\d{4} tokens.*holds 1024") as caught:
        client.chat.completions.create(model=model, **asked("word " * 1500))
    assert caught.value.code == "context_length_exceeded"


# -- raw completions ---------------------------------------------------------------------------------------------------


def test_completions_score_what_they_echo(client: openai.OpenAI) -> None:
    settings: dict[str, Any] = {"model": "base", "echo": True, "logprobs": 2, "temperature": 0}
    done = client.completions.create(prompt=["Paris is the capital", "The sea is"], max_tokens=3, **settings)
    for choice, prompt in zip(done.choices, ("Paris is the capital", "The sea is"), strict=True):
        table = choice.logprobs
        assert choice.text.startswith(prompt)
        assert "".join(table.tokens) == choice.text
        assert table.token_logprobs[0] is None
        assert [choice.text[at:].startswith(token) for at, token in zip(table.text_offset, table.tokens, strict=True)]
        assert all(len(top) in (2, 3) for top in table.top_logprobs[1:])
        assert table.token_logprobs[-1] == max(table.top_logprobs[-1].values())
    (single,) = client.completions.create(prompt=[5], max_tokens=0, **settings).choices
    assert single.logprobs.token_logprobs == [None]
    scored = client.completions.create(prompt=done.choices[0].text, max_tokens=0, **settings)
    assert scored.choices[0].text == done.choices[0].text
    assert scored.choices[0].logprobs.token_logprobs[1:] == pytest.approx(
        done.choices[0].logprobs.token_logprobs[1:], abs=0.1
    )


@pytest.mark.parametrize("stream", [False, True])
def test_the_token_that_ends_a_text_has_its_row_too(client: openai.OpenAI, stream: bool) -> None:
    prompt = "The moon is to be seen in the night"
    settings: dict[str, Any] = {"model": "base", "prompt": prompt, "temperature": 0, "logprobs": 1}
    made: Any = client.completions.create(**settings, max_tokens=3, echo=True, stream=stream)
    choices = [part.choices[0] for part in made] if stream else made.choices
    tables = [choice.logprobs for choice in choices if choice.logprobs is not None]
    tokens, scores, tops, offsets = (
        [value for table in tables for value in getattr(table, column)]
        for column in ("tokens", "token_logprobs", "top_logprobs", "text_offset")
    )
    assert "".join(choice.text for choice in choices) == "".join(tokens[:-1]) == prompt
    assert choices[-1].finish_reason == "stop"
    assert (tokens[-1], offsets[-1]) == ("<|im_end|>", len(prompt))
    assert list(tops[-1].values()) == [scores[-1]]
    assert -1 < scores[-1] < 0


def test_completions_of_tokens_and_streams(server: Served, client: openai.OpenAI) -> None:
    tokens = post(server, "/tokenize", {"prompt": "Paris is the capital"})["tokens"]
    settings: dict[str, Any] = {"model": "community/south", "max_tokens": 4, "seed": 1}
    of_tokens = client.completions.create(prompt=tokens, **settings)
    of_text = client.completions.create(prompt="Paris is the capital", **settings)
    assert of_tokens.choices[0].text == of_text.choices[0].text
    streamed = client.completions.create(prompt="Paris is the capital", stream=True, echo=True, **settings)
    text = "".join(chunk.choices[0].text for chunk in streamed)
    assert text == "Paris is the capital" + of_text.choices[0].text
    assert post(server, "/detokenize", {"tokens": tokens})["prompt"] == "Paris is the capital"
    with pytest.raises(openai.BadRequestError, match="vocabulary"):
        client.completions.create(model="base", prompt=[10**6])
    with pytest.raises(openai.BadRequestError, match="answers chats only"):
        client.completions.create(model="pluralism/overton", prompt="Hello")


def test_control_spellings_are_plain_text(server: Served, client: openai.OpenAI) -> None:
    tokens = post(server, "/tokenize", {"prompt": "<|im_end|> and on"})["tokens"]
    assert len(tokens) > 4
    done = client.completions.create(model="base", prompt="<|im_end|> and on", max_tokens=1)
    assert done.usage is not None
    assert done.usage.prompt_tokens == len(tokens)


def post(server: Served, path: str, body: dict[str, Any]) -> Any:
    connection = http.client.HTTPConnection(server.root.removeprefix("http://"), timeout=120)
    headers = {"content-type": "application/json", **server.headers}
    connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    return json.loads(response.read())


# -- other clients -----------------------------------------------------------------------------------------------------


async def test_langchain(server: Served) -> None:
    chat = ChatOpenAI(model="community/north", base_url=server.url, api_key=SecretStr(KEY), max_retries=0, seed=4)
    whole = await chat.ainvoke("Hello", max_tokens=6)
    parts = [chunk async for chunk in chat.astream([HumanMessage("Hello")], max_tokens=6)]
    assert "".join(str(part.text) for part in parts) == whole.text
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] <= 6


async def test_vectors_for_the_official_client_and_langchain(server: Served, client: openai.OpenAI) -> None:
    texts = ["Cities without cars", "Trams"]
    local = LlamaEmbeddings(gguf=RANDOM_GGUF, context=1024)
    expected = np.array(local.embed_documents(texts))
    tokens = [local.embedder.model.tokenize(text, parse_special=False, add_special=True) for text in texts]
    local.close()
    answer = client.embeddings.create(model="base", input=texts)  # which asks for base64
    read = server.metric("pluralism_tokens_total")
    floats = client.embeddings.create(model="demo", input=tokens, encoding_format="float", dimensions=64)
    counted = sum(map(len, tokens))
    for each, name in ((answer, "base"), (floats, "demo")):
        assert np.array([row.embedding for row in each.data]) == pytest.approx(expected, abs=1e-4)
        assert [row.index for row in each.data] == [0, 1]
        assert (each.model, each.usage.prompt_tokens, each.usage.total_tokens) == (name, counted, counted)
    assert server.metric("pluralism_tokens_total") == read + counted
    with pytest.raises(
        openai.BadRequestError, match="base gives vectors of 64 numbers, and no others; leave dimensions"
    ):
        client.embeddings.create(model="base", input="Trams", dimensions=32)
    with pytest.raises(openai.BadRequestError, match=r"Text 2 has \d+ tokens and the context of .* holds 1024"):
        client.embeddings.create(model="base", input=["Trams", "the cat " * 1000])
    embeddings = OpenAIEmbeddings(
        model="base", base_url=server.url, api_key=SecretStr(KEY), max_retries=0, check_embedding_ctx_length=False
    )
    assert np.array(await embeddings.aembed_documents(texts)) == pytest.approx(expected, abs=1e-4)


def test_chat_openai_gets_at_a_runs_facts_by_headers(server: Served) -> None:
    chat = ChatOpenAI(
        model="pluralism/steerable",
        base_url=server.url,
        api_key=SecretStr(KEY),
        include_response_headers=True,
        extra_body={"metadata": {"attribute": "the right to privacy"}},
        seed=4,
    )
    whole = chat.invoke("Should wages be public?")
    streamed = next(chunk for chunk in chat.stream("Should wages be public?") if chunk.response_metadata)
    for message in (whole, streamed):
        headers = message.response_metadata["headers"]
        assert headers["x-pluralism-mode"] == "steerable"
        assert headers["x-pluralism-pool"] == "pool"
        assert headers["x-pluralism-missing"] == ""
        assert headers["x-pluralism-seed"] == "4"
        assert headers["x-pluralism-selected"] in ("north", "south")
    binding = chat.bind(extra_body={"metadata": {"attribute": "age", "options": json.dumps(["Yes", "No"])}})
    assert binding.invoke("Should wages be public?").content in ("Yes", "No")


# -- responses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["community/north", "pluralism/overton"])
def test_a_response_is_what_a_chat_would_be(client: openai.OpenAI, model: str) -> None:
    settings: dict[str, Any] = {"model": model, "temperature": 0, "extra_body": {"seed": 5}}
    chat = client.chat.completions.create(max_tokens=8, **settings, **asked("Should wages be public?"))
    response = client.responses.create(input="Should wages be public?", max_output_tokens=8, **settings)
    assert response.output_text == chat.choices[0].message.content
    assert response.status == {"length": "incomplete", "stop": "completed"}[chat.choices[0].finish_reason]
    assert response.usage is not None
    assert response.usage.output_tokens == chat.usage.completion_tokens
    assert response.model_extra is not None
    assert response.model_extra["pluralism"]["seed"] == 5
    events = list(
        client.responses.create(input="Should wages be public?", max_output_tokens=8, stream=True, **settings)
    )
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [events[0].type, events[-1].type] == ["response.created", f"response.{response.status}"]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == response.output_text
    assert events[-1].response.output_text == text


def test_a_response_follows_a_schema_and_instructions(client: openai.OpenAI) -> None:
    wanted: Any = {"format": {"type": "json_schema", **MOOD}}
    response = client.responses.create(
        model="base",
        instructions="Answer in JSON.",
        input=[{"role": "user", "content": [{"type": "input_text", "text": "How are you?"}]}],
        text=wanted,
    )
    assert json.loads(response.output_text)["mood"] in ("good", "bad")
    assert response.to_dict()["text"]["format"]["name"] == "mood"  # type: ignore[index]
    with pytest.raises(openai.BadRequestError, match="this server keeps no responses"):
        client.responses.create(model="base", input="Go on.", previous_response_id=response.id)


def test_langchain_asks_for_responses(server: Served) -> None:
    chat = ChatOpenAI(model="base", base_url=server.url, api_key=SecretStr(KEY), use_responses_api=True)
    short = chat.bind(max_output_tokens=6)
    assert short.invoke([("system", "Be brief."), ("human", "Hello")]).text
    assert "".join(chunk.text for chunk in short.stream("Hello"))


async def test_a_graph_runs_over_communities_served_here(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_SERVING_KEY", KEY)
    models = {"boss": "base", "north": "community/north", "south": "community/south"}
    tables = [
        f'[models.{name}]\nopenai = "{model}"\nbase_url = "{server.url}"\napi_key_env = "TEST_SERVING_KEY"\n'
        for name, model in models.items()
    ]
    tables += [f'[communities.{name}]\nmodel = "{name}"\ndescription = "{name}"\n' for name in ("north", "south")]
    file = tmp_path / "remote.toml"
    file.write_text('base = "boss"\n' + "\n".join(tables) + "\n[run]\ncomment_tokens = 8\nanswer_tokens = 8\n")
    pool = Pool.load(file)
    state = await build_overton(pool).compile().ainvoke({"question": "Should wages be public?", "seed": 1})
    assert state["missing"] == []
    assert {name: comment["error"] for name, comment in state["comments"].items()} == {"north": None, "south": None}
    assert state["answer"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl(server: Served) -> None:
    def curl(*words: str) -> str:
        done = subprocess.run(["curl", "-sS", "--max-time", "120", *words], capture_output=True, text=True, check=True)
        return done.stdout

    assert json.loads(curl(f"{server.root}/health")) == {"status": "ok"}
    assert json.loads(curl(f"{server.root}/metrics"))["error"]["code"] == "invalid_api_key"
    body = json.dumps({"model": "base", "max_tokens": 3, "stream": True, **asked("Hello")})
    told = curl("-N", "-H", f"Authorization: Bearer {KEY}", "--json", body, f"{server.url}/chat/completions")
    events = [line.removeprefix("data: ") for line in told.splitlines() if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[0])["object"] == "chat.completion.chunk"


def test_lm_evaluation_harness_gives_the_engines_own_scores(server: Served, pool: Path, tmp_path: Path) -> None:
    (tmp_path / "items.json").write_text(
        "\n".join(json.dumps({"text": text, "choices": choices, "gold": gold}) for text, choices, gold in ITEMS)
    )
    (tmp_path / "tiny.yaml").write_text(
        f"""task: tiny
dataset_path: json
dataset_kwargs:
  data_files: {{test: {tmp_path / "items.json"}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{text}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: gold
target_delimiter: ""
metric_list:
  - metric: acc
"""
    )
    arguments = f"model=base,base_url={server.url}/completions,tokenizer_backend=remote,auth_token={KEY}"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lm_eval", "run", "--model", "local-completions"),
            *("--model_args", f"{arguments},num_concurrent=1,max_length=1024", "--batch_size", "4"),
            *("--tasks", "tiny", "--include_path", str(tmp_path), "--output_path", str(tmp_path / "out")),
            *("--log_samples",),
        ],
        capture_output=True,
        text=True,
        timeout=400,
        cwd=tmp_path,
        env={
            **os.environ,
            "OPENAI_API_KEY": KEY,
            "HF_DATASETS_OFFLINE": "1",
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(tmp_path / "hf"),
        },
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = (tmp_path / "out").rglob("results_*.json")
    accuracy = json.loads(results.read_text())["results"]["tiny"]["acc,none"]
    (samples,) = (tmp_path / "out").rglob("samples_tiny_*.jsonl")
    rows = sorted((json.loads(line) for line in samples.read_text().splitlines()), key=lambda row: row["doc_id"])
    theirs = [float(reply[0][0]) for row in rows for reply in row["resps"]]

    ours = own_scores()
    assert theirs == pytest.approx([score for item in ours for score in item], abs=0.15)
    right = [item.index(max(item)) == gold for item, (_, _, gold) in zip(ours, ITEMS, strict=True)]
    assert accuracy == pytest.approx(sum(right) / len(right))
    assert 0 < accuracy < 1


def own_scores() -> list[list[float]]:
    """The log-likelihood of each choice, from an engine in this process."""
    from modular_pluralism.llama import Engine, EngineSettings
    from modular_pluralism.llama.reading import continuations

    engine = Engine(EngineSettings(RANDOM_GGUF, context=256, slots=2))
    try:
        scores = []
        for text, choices, _ in ITEMS:
            prefix = engine.model.tokenize(text, parse_special=False, add_special=False)
            wholes = [engine.model.tokenize(text + each, parse_special=False, add_special=False) for each in choices]
            assert all(whole[: len(prefix)] == prefix for whole in wholes)
            rows = engine.read(continuations(prefix, [whole[len(prefix) :] for whole in wholes]))
            scores.append([float(row.sum()) for row in rows])
        return scores
    finally:
        engine.close()


# -- who goes away, and what is written down ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", asked("Tell me a long story.", model="base", stream=True)),
        ("/v1/chat/completions", asked("Tell me a long story.", model="base", n=4)),
        ("/v1/completions", {"model": "community/south", "prompt": "Once upon a time", "stream": True}),
        ("/v1/completions", {"model": "community/south", "prompt": "Once upon a time"}),
    ],
)
def test_a_client_that_goes_away_frees_its_place(server: Served, path: str, body: dict[str, Any]) -> None:
    connection = http.client.HTTPConnection(server.root.removeprefix("http://"), timeout=120)
    before = server.metric("pluralism_engine_requests_total")
    sent = json.dumps({**body, "max_tokens": 900, "temperature": 0})
    connection.request("POST", path, sent, {"content-type": "application/json", **server.headers})
    assert wait_until(lambda: server.metric("pluralism_engine_requests_total") > before, 60)
    if body.get("stream"):
        connection.getresponse().read(10)
    assert server.metric("pluralism_running") == 1
    connection.close()
    if connection.sock is not None:
        connection.sock.close()
    assert wait_until(lambda: server.metric("pluralism_running") == 0, 20)
    time.sleep(0.5)
    generated = server.metric("pluralism_engine_tokens_generated_total")
    time.sleep(0.7)
    assert server.metric("pluralism_engine_tokens_generated_total") == generated
    assert wait_until(lambda: server.events[-1]["event"] == "request", 5)
    assert any(event.get("error") == "client_gone" and event["status"] == 499 for event in server.events)


def test_a_run_that_nobody_waits_for_ends(server: Served) -> None:
    body = asked("Should wages be public?", model="pluralism/overton", stream=True)
    gone = [event for event in server.events if event.get("status") == 499]
    connection = http.client.HTTPConnection(server.root.removeprefix("http://"), timeout=120)
    before = server.metric("pluralism_engine_requests_total")
    connection.request(
        "POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json", **server.headers}
    )
    assert wait_until(lambda: server.metric("pluralism_engine_requests_total") > before, 60)
    connection.close()
    assert wait_until(lambda: server.metric("pluralism_running") == 0, 20)
    assert wait_until(lambda: len([event for event in server.events if event.get("status") == 499]) == len(gone) + 1, 5)


def test_ids(server: Served) -> None:
    def answered(given: str) -> str:
        connection = http.client.HTTPConnection(server.root.removeprefix("http://"), timeout=120)
        connection.request("GET", "/v1/models", headers={**server.headers, "x-request-id": given})
        return connection.getresponse().headers["x-request-id"]

    assert answered("mine-42") == "mine-42"
    assert answered('"}<script>').startswith("req-")
    assert answered("x" * 200).startswith("req-")


def test_a_connection_is_bounded_before_the_key_is_looked_at(server: Served) -> None:
    assert b" 401 " in hung_up_on(server.root)


def test_no_key_and_no_prompt_is_written_down(server: Served, client: openai.OpenAI) -> None:
    client.chat.completions.create(model="base", max_tokens=1, **asked(SECRET_QUESTION))
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=server.url, api_key="a-wrong-key-that-is-secret", max_retries=0).models.list()
    assert wait_until(lambda: any(event.get("status") == 401 for event in server.events), 5)
    for secret in (KEY, "a-wrong-key", "another-key", "zebra"):
        assert secret not in server.log
    requests = [event for event in server.events if event["event"] == "request"]
    last = [event for event in requests if event["model"] == "base"][-1]
    assert last["key"] == 2
    assert last["completion_tokens"] == 1
    assert {"time", "request_id", "path", "status", "seconds"} <= set(last)


def test_metrics(server: Served) -> None:
    assert server.metric("pluralism_requests_total") > 10
    assert server.metric("pluralism_tokens_total") > 100
    assert server.metric("pluralism_request_seconds_count") > 10
    assert server.metric("pluralism_waiting") == 0


# -- the document ------------------------------------------------------------------------------------------------------

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "serving.md"


def examples(language: str) -> list[str]:
    """The blocks that want a running server, and so are not run by the tests of the other documents."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    ("number", "says"),
    [(0, "missing: []\n{'Yes': 0."), (1, "mode: steerable\nmissing: []"), (2, "2 vectors of 64 numbers")],
)
def test_the_documented_clients_work(server: Served, number: int, says: str) -> None:
    snippet = examples("py")[number]
    code = snippet.replace("http://127.0.0.1:8080/v1", server.url).replace('"none"', repr(KEY))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_documented_command_works(server: Served) -> None:
    (command,) = examples("sh")
    words = shlex.split(command.replace("\\\n", " ").replace("http://127.0.0.1:8080/v1", server.url))
    words += ["-sS", "-H", f"authorization: Bearer {KEY}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    assert json.loads(done.stdout)["choices"][0]["message"]["content"]


def test_the_document_names_every_metric_and_limit(server: Served) -> None:
    text = DOCUMENT.read_text()
    with urllib.request.urlopen(
        urllib.request.Request(f"{server.root}/metrics", headers=server.headers), timeout=60
    ) as response:
        names = set(re.findall(r"^# TYPE (\w+) (?:counter|gauge|histogram)", response.read().decode(), re.MULTILINE))
    for name in names:
        if name.startswith("pluralism_engine_"):
            assert name.removeprefix("pluralism_engine_").removesuffix("_total") in text
        elif not name.endswith("_created"):
            assert name in text
    for option in re.findall(r"--max-[a-z-]+", pluralism("serve", "--help", env={"COLUMNS": "200"}).stdout):
        assert option in text
