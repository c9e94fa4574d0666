"""From a chat to the question of a mode, with its attribute and options."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from modular_pluralism.nodes.check import check_attribute, check_options, check_question
from modular_pluralism.serving.api_error import ApiError
from modular_pluralism.serving.schemas import ChatMessage, ChatRequest
from modular_pluralism.types import Mode

_HEADER = re.compile(r"(attribute|option):[ \t]*(.*)", re.IGNORECASE)
_HOW = {
    "attribute": 'as metadata {"attribute": "..."} or as a first line "Attribute: ..." above an empty line',
    "options": 'as metadata {"options": "[\\"Yes\\", \\"No\\"]"} or as first lines "Option: ..." above an empty line',
}


def question_of(mode: Mode, request: ChatRequest) -> dict[str, Any]:
    """The input of the mode's graph, without its seed.

    A single message is the question. Of a longer chat, the models are told every turn, "user: ..." and so on.

    Raises:
        ApiError: 400, the chat does not end with a user's question, or the mode lacks what it needs.
        InputError: the question, the attribute or the options are unusable.
    """
    last = request.messages[-1]
    if last.role != "user":
        raise ApiError(400, f"pluralism/{mode} answers the last message, which must be a user's.", param="messages")
    headers, text = take_headers(last.content)
    attribute = _one("attribute", headers["attribute"], request.metadata)
    options = _options(headers["option"], request.metadata)
    check_question(text)
    asked: dict[str, Any] = {"question": _told(request.messages[:-1], text)}
    if mode == "overton":
        for name, value in (("attribute", attribute), ("options", options)):
            if value is not None:
                raise ApiError(400, f"pluralism/overton takes no {name}; leave them out or choose another mode.")
        return asked
    if attribute is None and mode == "steerable":
        raise ApiError(400, f"pluralism/steerable needs an attribute, {_HOW['attribute']}.", param="metadata.attribute")
    if options is None and mode == "distributional":
        raise ApiError(400, f"pluralism/distributional needs options, {_HOW['options']}.", param="metadata.options")
    if attribute is not None:
        check_attribute(attribute)
        asked["attribute"] = attribute
    if options is not None:
        check_options(options, distinct=True)
        asked["options"] = options
    return asked


def take_headers(text: str) -> tuple[dict[str, list[str]], str]:
    """The header lines at the top of a text, by their name, and the text below them.

    Raises:
        ApiError: 400, no empty line stands between the headers and the question, so that they cannot be told apart.
    """
    found: dict[str, list[str]] = {"attribute": [], "option": []}
    lines = text.splitlines()
    count = 0
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            break
        found[match[1].lower()].append(match[2].strip())
        count += 1
    if count == 0:
        return found, text
    if count == len(lines) or lines[count].strip():
        raise ApiError(
            400,
            "The message begins with header lines; put an empty line below them, then the question.",
            param="messages",
        )
    return found, "\n".join(lines[count:]).strip()


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
    if not isinstance(told, list) or not all(isinstance(each, str) for each in told):
        raise ApiError(
            400,
            'metadata.options must be a JSON list of texts, as in "[\\"Yes\\", \\"No\\"]".',
            param="metadata.options",
        )
    return told


def _told(before: Sequence[ChatMessage], text: str) -> str:
    """The question with what was said before it. A single question stands alone, as on the command line."""
    if not before:
        return text
    return "\n\n".join([*(f"{message.role}: {message.content}" for message in before), f"user: {text}"])
