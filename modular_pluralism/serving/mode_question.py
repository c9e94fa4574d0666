"""From a chat to the question of a mode, with its attribute and options."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from modular_pluralism.errors import InputError
from modular_pluralism.modes import ModeDescription
from modular_pluralism.nodes.request import Request, check_question, check_tools_of_mode
from modular_pluralism.serving.api_error import ApiError
from modular_pluralism.serving.schemas import ChatMessage, ChatRequest
from modular_pluralism.types import Turn

_HEADER = re.compile(r"(attribute|option):[ \t]*(.*)", re.IGNORECASE)
_HOW = {
    "attribute": 'as metadata {"attribute": "..."} or as a first line "Attribute: ..." above an empty line',
    "options": 'as metadata {"options": "[\\"Yes\\", \\"No\\"]"} or as first lines "Option: ..." above an empty line',
}


def question_of(mode: ModeDescription, request: ChatRequest, seed: int) -> dict[str, Any]:
    """The input of the mode's graph.

    The last message of a user is the question; the models are told those before it, with their roles. After it there
    may be calls of tools with what they returned, which are for the base LLM.

    Raises:
        ApiError: 400, the chat does not end with a user's question or with tools' results, the mode lacks what it
            needs, or it takes no tools.
        InputError: the question, the attribute or the options are unusable, or not for this mode.
    """
    place = max((at for at, message in enumerate(request.messages) if message.role == "user"), default=-1)
    after = request.messages[place + 1 :]
    if place < 0 or (after and after[-1].role != "tool"):
        raise ApiError(
            400,
            f"pluralism/{mode.name} answers the last message, which must be a user's or a tool's.",
            param="messages",
        )
    headers, text = take_headers(request.messages[place].content)
    parts: dict[str, Any] = {
        "attribute": _one("attribute", headers["attribute"], request.metadata),
        "options": _options(headers["option"], request.metadata),
        "choose": _one("choose", [], request.metadata),
        "normalise": _one("normalise", [], request.metadata),
    }
    check_question(text)
    for part in mode.takes.required:
        if parts[part] is None:
            article = "an " if part == "attribute" else ""
            raise ApiError(400, f"pluralism/{mode.name} needs {article}{part}, {_HOW[part]}.", param=f"metadata.{part}")
    parts |= request.tool_settings()
    parts["tool_messages"] = [message.as_openai() for message in after] or None
    try:
        check_tools_of_mode(parts, mode.name, mode.takes)
    except InputError as error:
        raise ApiError(400, str(error), param="messages" if after else "tools") from None
    history = _history(request.messages[:place])
    return Request(question=text, mode=mode.name, seed=seed, history=history, **parts).asked()


def take_headers(text: str) -> tuple[dict[str, list[str]], str]:
    """The header lines at the top of a text, by their name, and the text below them.

    Raises:
        ApiError: 400, no empty line stands between the headers and the question, so that they cannot be told apart.
    """
    headers: dict[str, list[str]] = {"attribute": [], "option": []}
    lines = text.splitlines()
    count = 0
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            break
        headers[match[1].lower()].append(match[2].strip())
        count += 1
    if count == 0:
        return headers, text
    if count == len(lines) or lines[count].strip():
        raise ApiError(
            400,
            "The message begins with header lines; put an empty line below them, then the question.",
            param="messages",
        )
    return headers, "\n".join(lines[count:]).strip()


def _one(name: str, headers: Sequence[str], metadata: Mapping[str, Any] | None) -> str | None:
    given = [*headers, *([metadata[name]] if metadata and metadata.get(name) is not None else [])]
    if len(given) > 1:
        raise ApiError(400, f"The {name} is given {len(given)} times; give it once.", param=f"metadata.{name}")
    if given and not isinstance(given[0], str):
        raise ApiError(400, f"The {name} must be a text.", param=f"metadata.{name}")
    return given[0] if given else None


def _options(headers: Sequence[str], metadata: Mapping[str, Any] | None) -> list[str] | None:
    told = (metadata or {}).get("options")
    if told is None:
        return list(headers) or None
    if headers:
        raise ApiError(400, "The options are given twice; give them once.", param="metadata.options")
    if isinstance(told, str):  # OpenAI's metadata holds texts only
        try:
            told = json.loads(told)
        except (ValueError, RecursionError):
            told = None
    if not isinstance(told, list) or not all(isinstance(option, str) for option in told):
        raise ApiError(
            400,
            'metadata.options must be a JSON list of texts, as in "[\\"Yes\\", \\"No\\"]".',
            param="metadata.options",
        )
    return told


def _history(before: Sequence[ChatMessage]) -> list[Turn] | None:
    """What was said before the question. Turns without a text, and what tools have said, are left out."""
    roles: dict[str, Literal["system", "user", "assistant"]] = {
        "system": "system",
        "developer": "system",
        "user": "user",
        "assistant": "assistant",
    }
    return [
        Turn(role=roles[message.role], content=message.content)
        for message in before
        if message.role in roles and message.content.strip()
    ] or None
