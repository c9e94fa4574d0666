"""ChatLlama against LangChain's own standard tests, on an embedded model."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from modular_pluralism.errors import InputError
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
    pass


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
