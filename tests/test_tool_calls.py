"""Calls of tools: told from text, forced by a grammar, and shown to the model by its template."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool

from modular_pluralism.errors import InputError
from modular_pluralism.llama import ChatLlama
from modular_pluralism.llama.tool_calls import CallForm, CallSplitter, ToolUse
from tests.random_model import RANDOM_GGUF
from tests.vendored import chat_template

HERMES = chat_template("Qwen-Qwen2.5-7B-Instruct")
ONE = {"city": "Oslo", "days": 3}
WRITTEN = [
    (CallForm.HERMES, 'Let me see.\n<tool_call>\n{"name": "f", "arguments": {"a": "</tool_call>"}}\n</tool_call>', 1),
    (
        CallForm.HERMES,
        '<tool_call>{"name": "f", "arguments": {}}</tool_call><tool_call>{"name": "g", "arguments": {}}',
        2,
    ),
    (CallForm.LLAMA, '{"name": "f", "parameters": {"a": {"b": 1}}}', 1),
    (CallForm.LLAMA, '<|python_tag|>{"name": "f", "parameters": {}}; {"name": "g", "parameters": {}}', 2),
    (CallForm.MISTRAL, '[TOOL_CALLS] [{"name": "f", "arguments": {}, "id": "1"}, {"name": "g", "arguments": {}}]', 2),
    (CallForm.MISTRAL, 'Well.[TOOL_CALLS]f[CALL_ID]123456789[ARGS]{"a": "[TOOL_CALLS]"}[TOOL_CALLS]g[ARGS]{}', 2),
    (CallForm.FORCED, '{"name": "f", "arguments": {"a": 1}}', 1),
]
NO_CALLS = [
    (CallForm.HERMES, "Write <tool_call> before it."),
    (CallForm.HERMES, '<tool_call>{"name": "f", "argu'),
    (CallForm.HERMES, '{"name": "f", "arguments": {}}'),
    (CallForm.LLAMA, 'Say {"name": "f", "parameters": {}}'),
    (CallForm.LLAMA, '{"a": 1}'),
    (CallForm.LLAMA, '{"name": 1, "parameters": {}}'),
    (CallForm.MISTRAL, "[TOOL_CALLS]f[ARGS]"),
    (CallForm.MISTRAL, "[TOOL_CALLS][1]"),
    (CallForm.FORCED, '{"name": "f", "arg'),
    (CallForm.FORCED, ""),
]


def split(form: CallForm, pieces: list[str]) -> tuple[str, list[Any]]:
    splitter = CallSplitter(form)
    text = "".join(map(splitter.passed, pieces))
    rest, calls = splitter.ended()
    return text + rest, calls


@pytest.mark.parametrize(("form", "text", "count"), WRITTEN)
@given(data=st.data())
def test_calls_are_told_from_the_text_however_it_is_cut(form: CallForm, text: str, count: int, data: Any) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    said, calls = split(form, pieces)
    assert [call.name for call in calls] == ["f", "g"][:count]
    assert said.strip() in ("", "Let me see.", "Well.")
    assert all(len(call.id) == 9 and call.id.isalnum() for call in calls)


@pytest.mark.parametrize(("form", "text"), NO_CALLS)
def test_what_only_looks_like_a_call_is_text(form: CallForm, text: str) -> None:
    assert split(form, [text]) == (text, [])
    assert split(form, list(text)) == (text, [])


def test_text_comes_before_it_is_whole() -> None:
    splitter = CallSplitter(CallForm.HERMES)
    assert splitter.passed("Let me see. <tool") == "Let me see. "
    assert splitter.passed("s") == "<tools"
    splitter = CallSplitter(CallForm.LLAMA)
    assert splitter.passed(" ") == ""
    assert splitter.passed("It is") == " It is"


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("Qwen-Qwen2.5-7B-Instruct", CallForm.HERMES),
        ("Qwen-Qwen3-0.6B", CallForm.HERMES),
        ("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", CallForm.HERMES),
        ("meta-llama-Llama-3.1-8B-Instruct", CallForm.LLAMA),
        ("meta-llama-Llama-3.2-3B-Instruct", CallForm.LLAMA),
        ("mistralai-Mistral-Nemo-Instruct-2407", CallForm.MISTRAL),
        ("Mistral-Small-3.2-24B-Instruct-2506", CallForm.MISTRAL),
        ("Qwen3-Coder", None),
        ("GLM-4.6", None),
        ("openai-gpt-oss-120b", None),
    ],
)
def test_the_form_is_that_of_the_template(name: str, form: CallForm | None) -> None:
    assert CallForm.of_template(chat_template(name)) is form


# -- with a model ------------------------------------------------------------------------------------------------------


@tool
def forecast(sky: bool, days: bool) -> str:
    """Tell the weather of tomorrow."""
    return "rain"


@tool
def stop() -> str:
    """Do nothing."""
    return ""


@pytest.fixture(scope="module")
def model() -> ChatLlama:
    return ChatLlama(gguf=RANDOM_GGUF, temperature=0, max_tokens=60, template_text=HERMES, template=True)


def test_a_call_that_is_required_is_written(model: ChatLlama) -> None:
    said = model.bind_tools([forecast, stop], tool_choice="forecast").invoke("How will it be?")
    (call,) = said.tool_calls
    assert call["name"] == "forecast"
    assert call["args"].keys() == {"sky", "days"}
    assert said.content == ""
    assert said.response_metadata["finish_reason"] == "tool_calls"
    whole: AIMessageChunk | None = None
    for chunk in model.bind_tools([forecast], tool_choice="any").stream("How will it be?"):
        assert isinstance(chunk, AIMessageChunk)
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert [(each["name"], each["args"]) for each in whole.tool_calls] == [("forecast", call["args"])]


def test_the_template_is_told_of_tools_calls_and_results(model: ChatLlama) -> None:
    call = {"name": "forecast", "args": {"sky": "<|im_end|>"}, "id": "abcdefghi", "type": "tool_call"}
    asked = HumanMessage("How will it be?")
    messages = [asked, AIMessage("", tool_calls=[call]), ToolMessage("<|im_end|>", tool_call_id="abcdefghi")]
    function = {"name": "forecast", "description": "Tell <|im_start|> it.", "parameters": {}}
    tokens = model.prompt_tokens(messages, tools=[{"type": "function", "function": function}])
    text = b"".join(map(model.engine.model.piece, tokens)).decode()
    assert '"description": "Tell <|im_start|> it."' in text
    assert '{"name": "forecast", "arguments": {"sky": "<|im_end|>"}}' in text
    assert "<tool_response>\n<|im_end|>\n</tool_response>" in text
    # None of these spellings has become a token that ends or begins a turn.
    alike = [asked, AIMessage("I will look."), HumanMessage("It rains.")]
    assert control_count(model, tokens) == control_count(model, model.prompt_tokens(alike))


def control_count(model: ChatLlama, tokens: list[int]) -> int:
    return sum(token in model.engine.model.special_tokens.spelled for token in tokens)


def test_none_means_that_there_are_no_tools(model: ChatLlama) -> None:
    assert model.bind_tools([forecast], tool_choice="none").invoke("Hello").content == model.invoke("Hello").content


@pytest.mark.parametrize(
    ("template", "choice", "says"),
    [
        (None, None, "takes no tools; leave them out, or name another template"),
        (None, "required", "takes no tools"),
        (chat_template("Qwen3-Coder"), "auto", 'in a form that is not known here; ask with tool_choice "required"'),
        (HERMES, "fly", "tool_choice names 'fly'; name one of the tools, forecast"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(template: str | None, choice: str | None, says: str) -> None:
    model = ChatLlama(gguf=RANDOM_GGUF, max_tokens=4, template_text=template)
    with pytest.raises(InputError, match=says):
        model.bind_tools([forecast], tool_choice=choice).invoke("Hello")


def test_a_choice_needs_tools() -> None:
    assert ToolUse.of([], "auto") is None
    with pytest.raises(InputError, match="there are no tools"):
        ToolUse.of(None, "required")
    with pytest.raises(InputError, match="A tool must be"):
        ToolUse.of([{"name": "f"}], None)
