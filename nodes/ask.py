"""The calls that nodes make of a model: a text, or the probabilities of given replies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.runnables.config import merge_configs

from modular_pluralism.errors import ModelCallError
from modular_pluralism.llama.chat_model import ChatLlama
from modular_pluralism.models.answerer import Answerer, OwnPart, finished
from modular_pluralism.models.answerer import as_message as as_message
from modular_pluralism.models.calls import Call, CallResult
from modular_pluralism.models.option_reader import NOT_STREAMED, LabelReading
from modular_pluralism.models.pool_models import PoolModel
from modular_pluralism.models.redaction import keyless_message
from modular_pluralism.models.reply_parts import TokenCounts, mended
from modular_pluralism.models.spans import Asked
from modular_pluralism.types import Reply, Usage

T = TypeVar("T")

OWN_PART = "own_part"
"""What callbacks are told within a part of the application's own, as metadata: the models there are not the pool's."""


@dataclass(frozen=True, kw_only=True)
class ModelCall(Call[T]):
    """A call that can tell what it asks of whom: `given` are the messages, labels and settings."""

    model: Answerer
    given: Mapping[str, Any]


Asking: TypeAlias = Generator[ModelCall[Any], CallResult[Any], T]
"""Work that asks models by yielding calls; errors are raised at the yield."""


def text(
    model: PoolModel,
    messages: Sequence[BaseMessage],
    *,
    streamed: bool = True,
    tools: tuple[Sequence[Mapping[str, Any]], Any] | None = None,
    **settings: Any,
) -> ModelCall[BaseMessage]:
    """Ask for a text. `settings` go to the model; `tools` are those that it may call, and the choice among them.

    `streamed` false keeps the text out of the graph's stream of messages: a label or a number is nothing to read.
    """
    prompt = list(messages)
    chat = model.chat if tools is None else model.with_tools(*tools)
    told = {} if tools is None else {"tools": list(tools[0]), "tool_choice": tools[1]}

    def tagged(config: RunnableConfig) -> RunnableConfig:
        return config if streamed else merge_configs(config, {"tags": [NOT_STREAMED]})

    def run(config: RunnableConfig) -> BaseMessage:
        return _whole(chat.invoke(prompt, tagged(config), **settings))

    async def arun(config: RunnableConfig) -> BaseMessage:
        return _whole(await chat.ainvoke(prompt, tagged(config), **settings))

    given = {"messages": prompt, "settings": settings | told}
    return ModelCall(model.place, run, arun, partial(_asked, "chat", model, settings), model=model, given=given)


def _asked(operation: Literal["chat", "score"], model: PoolModel, settings: dict[str, Any]) -> Asked:
    chat: Any = model.chat
    if not hasattr(chat, "_get_ls_params"):
        return Asked("invoke_agent", model.place, "application", embedded=True)
    known: Any = chat._get_ls_params(**settings)  # every LangChain chat model says so to its own tracers
    return Asked(
        operation,
        str(known.get("ls_model_name") or model.place),
        str(known.get("ls_provider") or "unknown"),
        isinstance(chat, ChatLlama),
        {"temperature": known.get("ls_temperature"), **settings},
    )


def _whole(message: BaseMessage) -> BaseMessage:
    """The message as `finished` has it, without keys, unless it broke off: an OpenAI-compatible stream that just ends
    looks like a short reply."""
    info = message.response_metadata
    if info.get("model_provider") == "openai" and not info.get("finish_reason"):
        raise ConnectionError("the reply broke off before its end")
    return keyless_message(finished(message) if isinstance(message, AIMessage) else message)


def label_probabilities(
    model: PoolModel, prompts: Sequence[Sequence[BaseMessage]], labels: Sequence[str]
) -> ModelCall[list[LabelReading]]:
    """Ask how probable each label is as the reply to each prompt."""
    return _reading(
        model,
        "label_probabilities",
        {"prompts": [list(prompt) for prompt in prompts], "labels": list(labels)},
        lambda config: model.reader.read_labels(prompts, labels, config),
        lambda config: model.reader.aread_labels(prompts, labels, config),
    )


def text_logprobs(
    model: PoolModel, prompt: Sequence[BaseMessage], texts: Sequence[str]
) -> ModelCall[list[list[float]]]:
    """Ask for the log-probabilities of the tokens of given replies."""
    return _reading(
        model,
        "text_logprobs",
        {"prompt": list(prompt), "texts": list(texts)},
        lambda config: model.reader.read_texts(prompt, texts, config),
        lambda config: model.reader.aread_texts(prompt, texts, config),
    )


def _reading(
    model: PoolModel,
    name: str,
    given: dict[str, Any],
    read: Callable[[RunnableConfig], T],
    aread: Callable[[RunnableConfig], Awaitable[T]],
) -> ModelCall[T]:
    """A call that the application's callbacks see as a run of that name: an embedded model's probabilities do not come
    from its chat model, which would tell them."""

    def run(_given: dict[str, Any], config: RunnableConfig) -> T:
        return read(config)

    async def arun(_given: dict[str, Any], config: RunnableConfig) -> T:
        return await aread(config)

    traced = RunnableLambda(run, arun, name=name)
    return ModelCall(
        model.place,
        lambda config: traced.invoke(given, config),
        lambda config: traced.ainvoke(given, config),
        partial(_asked, "score", model, {}),
        model=model,
        given=given,
    )


def own(part: OwnPart, given: Mapping[str, Any], *, stage: bool = True) -> ModelCall[Any]:
    """Ask a part of the application's own, with the retries, the deadline and the span of a model's call: a stage, or a
    community, of which a ValueError is no mistake in code."""

    def marked(config: RunnableConfig) -> RunnableConfig:
        return merge_configs(config, {"metadata": {OWN_PART: part.place}})

    return ModelCall(
        part.place,
        lambda config: part.runnable.invoke(dict(given), marked(config)),
        lambda config: part.runnable.ainvoke(dict(given), marked(config)),
        partial(Asked, "invoke_agent", part.place, "application", embedded=True),
        stage,
        model=part,
        given=given,
    )


def own_reply(outcome: CallResult[Any], place: str) -> Reply:
    """What a part of the application's own has said, as plain values. Errors are those of `as_message` and `reply`."""
    return reply(replace(outcome, value=as_message(outcome.value, place)), place)


def usage(reply: Reply) -> Usage:
    """The reply without its text."""
    return Usage(
        finish_reason=reply["finish_reason"],
        prompt_tokens=reply["prompt_tokens"],
        cached_tokens=reply["cached_tokens"],
        completion_tokens=reply["completion_tokens"],
        seconds=reply["seconds"],
        attempts=reply["attempts"],
    )


def reply(outcome: CallResult[BaseMessage], place: str, *, calls: bool = False) -> Reply:
    """What a text call returned, as plain values; `calls` is whether it calls tools, and so may have no text.

    Raises:
        ModelCallError: the model said nothing.
    """
    message = outcome.value
    said = mended(str(message.text)).strip()
    if not said and not calls:
        raise ModelCallError(f"{place} gave an empty reply.")
    counts = TokenCounts.of(message)
    return Reply(
        text=said,
        finish_reason="tool_calls" if calls else str(message.response_metadata.get("finish_reason") or "stop"),
        prompt_tokens=counts.prompt or 0,
        cached_tokens=counts.cached or 0,
        completion_tokens=counts.completion or 0,
        seconds=round(outcome.seconds, 4),
        attempts=outcome.attempts,
    )
