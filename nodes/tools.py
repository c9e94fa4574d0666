"""Tools that the base LLM may call where it answers: what is asked, what came back, and the calls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage, convert_to_messages
from langchain_core.messages import ToolCall as LangChainToolCall
from langchain_core.utils.function_calling import convert_to_openai_tool

from modular_pluralism.errors import InputError, ModelCallError
from modular_pluralism.llama.tool_calls import ToolUse
from modular_pluralism.models.reply_parts import mended
from modular_pluralism.modes import shown_answer
from modular_pluralism.nodes.noted import plain_update
from modular_pluralism.types import CalledFunction, ToolCall


def plain_tools(tools: Sequence[Any] | None) -> list[dict[str, Any]] | None:
    """Functions, classes of pydantic, LangChain's tools or OpenAI's tables, as OpenAI's tables; None where there are
    none.

    Raises:
        InputError: one is none of these.
    """
    try:
        return [convert_to_openai_tool(tool) for tool in tools or ()] or None
    except (TypeError, ValueError, RecursionError) as error:
        why = str(error).strip().splitlines()[0]
        raise InputError(
            f"tools holds what is no tool ({why}); give functions, LangChain's tools or OpenAI's."
        ) from None


def tools_of(asked: Mapping[str, Any]) -> tuple[list[dict[str, Any]], Any] | None:
    """The tools that the base LLM may call, and OpenAI's `tool_choice`; None where it is to call none."""
    tools, choice = asked.get("tools"), asked.get("tool_choice")
    if not tools or choice == "none":
        return None
    return list(tools), plain_update(choice) if isinstance(choice, Mapping) else choice


def uses_tools(asked: Mapping[str, Any]) -> bool:
    """Whether the base LLM may call tools, or has called some since the question."""
    return tools_of(asked) is not None or bool(asked.get("tool_messages"))


def tool_turns(asked: Mapping[str, Any]) -> list[BaseMessage]:
    """The calls that the base LLM has made since the question, and what came back, with their roles."""
    return convert_to_messages([_whole(turn) for turn in asked.get("tool_messages") or ()])


def _whole(turn: Mapping[str, Any]) -> dict[str, Any]:
    """A message with the text that OpenAI lets calls leave out."""
    return {**turn, "content": turn.get("content") or ""}


def check_tools(asked: Mapping[str, Any]) -> None:
    """Raise InputError unless the tools, the choice among them, and the calls that were made are such."""
    tools = asked.get("tools")
    if tools is not None and (isinstance(tools, str) or not isinstance(tools, Sequence)):
        raise InputError("The tools are not a list; give a list of OpenAI's tables.")
    ToolUse.of(tools, asked.get("tool_choice"))
    turns = asked.get("tool_messages")
    if turns is not None and (isinstance(turns, str) or not isinstance(turns, Sequence)):
        raise InputError(f"The tool_messages are {type(turns).__name__}; {_TURNS}.")
    open_calls: list[str] = []
    for number, turn in enumerate(turns or (), start=1):
        role = turn.get("role") if isinstance(turn, Mapping) else None
        if role == "assistant" and not open_calls and (calls := _ids(turn)):
            open_calls = calls
        elif role == "tool" and turn.get("tool_call_id") in open_calls and isinstance(turn.get("content"), str):
            open_calls.remove(turn["tool_call_id"])
        else:
            raise InputError(
                f"Message {number} after the question is neither calls of tools nor what came back; {_TURNS}."
            )
    if open_calls:
        raise InputError(
            f"The call {open_calls[0]!r} of a tool has no result; add a message of the role 'tool' with it."
        )


_TURNS = "give an assistant's message with tool_calls, then a tool's message with a text for each of these calls"


def _ids(turn: Mapping[str, Any]) -> list[str]:
    """The ids of a message's calls; none where one of them is no call."""
    calls = turn.get("tool_calls")
    try:
        parsed = convert_to_messages([_whole(turn)])[0] if isinstance(calls, Sequence) else None
    except (ValueError, TypeError, LookupError, AttributeError):
        return []
    if not isinstance(parsed, AIMessage) or parsed.invalid_tool_calls or not isinstance(parsed.content, str):
        return []
    return [str(call["id"]) for call in parsed.tool_calls]


def tool_calls(message: BaseMessage, place: str) -> list[ToolCall]:
    """The calls that a reply makes, as OpenAI has them.

    Raises:
        ModelCallError: the arguments of one are no JSON object.
    """
    if not isinstance(message, AIMessage):
        return []
    for broken in message.invalid_tool_calls:
        raise _no_json(place, broken["name"])
    return [_tool_call(call, f"call_{number}", place) for number, call in enumerate(message.tool_calls)]


def _tool_call(call: LangChainToolCall, otherwise: str, place: str) -> ToolCall:
    try:
        arguments = json.dumps(call["args"], ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise _no_json(place, call["name"]) from None
    function = CalledFunction(name=mended(call["name"]), arguments=mended(arguments))
    return ToolCall(id=mended(call["id"] or otherwise), type="function", function=function)


def _no_json(place: str, name: object) -> ModelCallError:
    return ModelCallError(
        f"{place} called the tool {name} with arguments that are no JSON object; ask again, or raise answer_tokens if "
        "they were cut off."
    )


def text_of(message: BaseMessage) -> str:
    """A message's text.

    Raises:
        InputError: it is not a model's, and holds something else, which no model here would be shown.
    """
    blocks = message.content if isinstance(message.content, list) and message.type != "ai" else []
    for kind in [str(block.get("type")) for block in blocks if isinstance(block, dict)]:
        if kind != "text":
            raise InputError(
                f"A message of the type {message.type!r} holds {kind!r}, and only texts are told to the models; leave "
                "it out, or put it in words."
            )
    return str(message.text)


def as_tool_messages(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Messages after a question as `tool_messages` has them.

    Raises:
        InputError: one is neither an AIMessage with calls nor a ToolMessage, or a result is no text.
    """
    told: list[dict[str, Any]] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            told.append({"role": "tool", "tool_call_id": message.tool_call_id, "content": text_of(message)})
        elif isinstance(message, AIMessage) and message.tool_calls:
            calls = tool_calls(message, "The assistant")
            told.append({"role": "assistant", "content": str(message.text), "tool_calls": calls})
        else:
            raise InputError(
                f"The conversation ends with a message of the type {messages[-1].type!r}; add what is asked next."
            )
    return told


def shown_message(message: BaseMessage) -> str:
    """A message for people to read, as `shown_answer` has it."""
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    told = [{"function": {"name": call["name"], "arguments": json.dumps(call["args"])}} for call in calls]
    return shown_answer({"answer": str(message.text), "tool_calls": told})
