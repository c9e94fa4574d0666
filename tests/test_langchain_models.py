"""Models of any provider, which LangChain's `init_chat_model` opens. The package itself is played by a module here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage
from pydantic import SecretStr

from modular_pluralism import ModelLoadError, Pool, PoolError, PoolModels, build_distributional, build_overton
from modular_pluralism.models.redaction import redact
from tests.fake_models import FakeChat, FakeChatWithLogprobs, Seen

HEAD = 'base = "far"\n[communities.left]\nmodel = "far"\ndescription = "the left"\n[run]\nattempts = 1\n[models.far]\n'
FAR = HEAD + 'langchain = "anthropic:claude-1"\n'
OPTIONS: Any = {"question": "Should wages be public?", "options": ["Yes", "No"]}
KEY = "sk-langchain-0123456789"


class Claude(FakeChat):
    """A provider's class, which has no seed and says otherwise why it has stopped."""

    max_tokens: int | None = None
    temperature: float | None = None
    api_key: SecretStr = SecretStr(KEY)
    max_retries: int = 2

    def answer(self, messages: Any, settings: dict[str, Any]) -> AIMessage:
        return super().answer(messages, {**settings, "max_tokens": self.max_tokens, "temperature": self.temperature})

    def info(self, seen: Seen) -> dict[str, Any]:
        return {"stop_reason": "max_tokens"}


class Gpt(FakeChatWithLogprobs):
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None

    def answer(self, messages: Any, settings: dict[str, Any]) -> AIMessage:
        own = {"seed": self.seed, "logprobs": self.logprobs, "top_logprobs": self.top_logprobs}
        return super().answer(messages, {**settings, **own})


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], dict[str, Any]]:
    """Has `init_chat_model` return that chat model, or raise that error; what it was called with."""

    def opens(chat: Any) -> dict[str, Any]:
        called: dict[str, Any] = {}

        def init_chat_model(model: str, **given: Any) -> Any:
            called.update(model=model, **given)
            if isinstance(chat, Exception):
                raise chat
            return chat

        package, module = ModuleType("langchain"), ModuleType("langchain.chat_models")
        module.init_chat_model = init_chat_model  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "langchain", package)
        vectors = ModuleType("langchain.embeddings")
        vectors.init_embeddings = init_chat_model  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "langchain.embeddings", vectors)
        monkeypatch.setitem(sys.modules, "langchain.chat_models", module)
        return called

    return opens


def parse(text: str) -> Pool:
    from pathlib import Path

    return Pool.from_toml(text, source="my.toml", folder=Path())


def test_the_provider_gets_the_table_and_settings_by_its_own_names(provider: Any) -> None:
    chat = Claude(say=lambda seen: "Mine.")
    called = provider(chat)
    pool = parse(FAR + "temperature = 0.2\noptions = {max_retries = 0}\n")
    state = build_overton(pool).compile().invoke({"question": "Should wages be public?"})
    assert called == {"model": "claude-1", "model_provider": "anthropic", "temperature": 0.2, "max_retries": 0}
    assert state["comments"]["left"]["finish_reason"] == "length"
    first = chat.seen[0].settings
    assert first["max_tokens"] == pool.run.comment_tokens
    assert "seed" not in first, "its class has none"
    assert redact(f"a key: {KEY}") == "a key: ***"


async def test_options_are_read_by_replies_or_by_log_probabilities(provider: Any) -> None:
    provider(Claude(say=lambda seen: "B" if "B. No" in seen.prompt else "A"))
    pool = parse(FAR.replace("attempts", "score_samples = 3\nattempts"))
    voted = await build_distributional(pool, voice="vote", scoring="label").compile().ainvoke(OPTIONS)
    assert (voted["distribution"], voted["distributions"]["left"]["samples"]) == ([0.0, 1.0], 3)

    provider(Gpt(say=lambda seen: "A", prefer=lambda seen: {"A": 0.25, "B": 0.75}))
    pool = parse(FAR.replace("anthropic:claude-1", "groq:gpt"))
    voted = build_distributional(pool, voice="vote", scoring="label").compile().invoke(OPTIONS)
    assert voted["distribution"] == pytest.approx([0.25, 0.75])
    assert voted["distributions"]["left"]["samples"] is None


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        ('langchain = "claude-1"', ["[models.far] langchain must read 'PROVIDER:MODEL'", "'claude-1'"]),
        (
            f'langchain = "anthropic:c"\noptions = {{api_key = "{KEY}"}}',
            ["[models.far] options must not hold api_key", "set the environment variable ANTHROPIC_API_KEY"],
        ),
        (
            f'langchain = "mistralai:m"\noptions = {{default_headers = {{Authorization = "{KEY}"}}}}',
            ["must not hold Authorization", "MISTRAL_API_KEY"],
        ),
        *(
            (f'langchain = "a:b"\noptions = {{default_headers = {headers}}}', [f"must not hold {name}", "A_API_KEY"])
            for name, headers in {
                "Authorization": f'[["Authorization", "{KEY}"]]',
                "api_key": f'[["X-Title", [{{ deep = [{{ api_key = "{KEY}" }}] }}]]]',
                "X-Api-Key": f'[{{ name = "X-Api-Key", value = "{KEY}" }}]',
            }.items()
        ),
        ('langchain = "a:b"\noptions = {temperature = 1}', ["must not hold temperature", "own key temperature"]),
        ('langchain = "a:b"\noptions = {model = "c"}', ["must not hold model", "own key langchain"]),
        ('langchain = "a:b"\nopenai = "c"', ["has both openai and langchain"]),
        ('langchain = "a:b"\nlora = "c"', ["unknown key 'lora'", "options"]),
        ('langchain = "a:b"\ntemperature = -1', ["[models.far] temperature must be at least 0"]),
    ],
)
def test_a_table_that_cannot_be_is_refused(lines: str, parts: list[str]) -> None:
    with pytest.raises(PoolError) as caught:
        parse(f"{HEAD}{lines}\n")
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_an_adapter_cannot_be_added() -> None:
    with pytest.raises(PoolError, match=r"\[communities\.left\] lora cannot be added to the remote model 'far'"):
        parse(FAR.replace('description = "the left"', 'description = "d"\nlora = "x.gguf"'))


def test_what_is_not_installed_is_told_with_its_package(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusal() -> str:
        with pytest.raises(ModelLoadError) as caught:
            PoolModels(parse(FAR)).check()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    assert "run `pip install langchain`" in refusal()
    provider(
        ImportError("Unable to import langchain_anthropic. Please install with `pip install -U langchain-anthropic`")
    )
    assert "run `pip install langchain-anthropic`" in refusal()
    provider(ImportError("no module"))
    assert "run `pip install langchain-anthropic`" in refusal()
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY + "-other")
    provider(ValueError(f"bad key {KEY}-other\nfor you"))
    told = refusal()
    assert "check langchain, options and ANTHROPIC_API_KEY" in told
    assert KEY not in told


def test_vectors_are_the_providers(provider: Any) -> None:
    called = provider(DeterministicFakeEmbedding(size=4))
    pool = parse(FAR + "temperature = 0.2\noptions = {max_retries = 0}\n")
    embeddings = PoolModels(pool).embeddings("far")
    assert called == {"model": "claude-1", "provider": "anthropic", "max_retries": 0}
    assert embeddings.embed_documents(["a", "b"]) == DeterministicFakeEmbedding(size=4).embed_documents(["a", "b"])
    provider(ValueError("Provider 'anthropic' is not supported.\nSupported providers: openai"))
    with pytest.raises(
        ModelLoadError, match=r"\[models\.far\] cannot be opened by init_embeddings for anthropic \(Prov"
    ):
        PoolModels(pool).embeddings("far")


def test_what_is_dumped_says_all_that_a_table_says() -> None:
    dumped = parse(FAR + 'top_p = "default"\noptions = {max_retries = 0}\n').models["far"].model_dump(mode="json")
    assert json.loads(json.dumps(dumped)) == {
        "langchain": "anthropic:claude-1",
        "temperature": 0.7,
        "top_p": None,
        "options": {"max_retries": 0},
    }
