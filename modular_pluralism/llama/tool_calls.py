"""Calls of tools: what a model is told of them, how its reply is kept to one, and how they are told from its text."""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from modular_pluralism.errors import InputError
from modular_pluralism.llama.grammar import grammar_of_schema
from modular_pluralism.llama.schema_keywords import closed_objects

Tool = Mapping[str, Any]
"""A tool as OpenAI's API has it."""
CALL_MARKERS = ("<tool_call>", "</tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]")
"""What stands around calls; a vocabulary may have a control token for it, which has no text of its own."""
_ID_SIGNS = string.ascii_letters + string.digits


class CallForm(Enum):
    """How a model writes its calls."""

    HERMES = "<tool_call>"
    """`<tool_call>{"name": …, "arguments": …}</tool_call>`: Hermes, Qwen."""
    LLAMA = "<|python_tag|>"
    """`{"name": …, "parameters": …}` and nothing else: Llama 3."""
    MISTRAL = "[TOOL_CALLS]"
    """`[TOOL_CALLS][{"name": …, "arguments": …}]`, or `[TOOL_CALLS]NAME[ARGS]{…}`: Mistral."""
    FORCED = ""
    """The JSON that `forcing_grammar` allows, whatever the model would write by itself."""

    @classmethod
    def of_template(cls, source: str) -> CallForm | None:
        """The form in which a chat template writes calls; None where it is none that is known here."""
        if cls.MISTRAL.value in source:
            return cls.MISTRAL
        if '{"name": function name, "parameters"' in source:
            return cls.LLAMA
        others = ("<function=", "<arg_key>", "<tool_calls>")
        if cls.HERMES.value in source and '"arguments"' in source and not any(each in source for each in others):
            return cls.HERMES
        return None


@dataclass(frozen=True)
class ToolCall:
    """One call. Its id has nine letters and digits, as Mistral's templates want it."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class ToolUse:
    """The tools of one request. `forced` is whether its reply has to be a call, and `name` of which one."""

    tools: tuple[Tool, ...]
    forced: bool = False
    name: str | None = None

    @classmethod
    def of(cls, tools: Sequence[Tool] | None, choice: Any) -> ToolUse | None:
        """What OpenAI's `tools` and `tool_choice` ask for; None where no tool is to be used.

        Raises:
            InputError: there is no such choice, or a tool is none.
        """
        if choice == "none":
            return None
        if not tools:
            if choice not in (None, "auto"):
                raise InputError(f"tool_choice is {choice!r:.60}, and there are no tools; give some, or leave it out.")
            return None
        names = [_name(tool) for tool in tools]
        for twice in {name for name in names if names.count(name) > 1}:
            raise InputError(f"Two tools are named {twice!r:.60}; rename one, so that calls can be told apart.")
        if choice in (None, "auto"):
            return cls(tuple(tools))
        if choice in ("required", "any"):
            return cls(tuple(tools), forced=True)
        function = choice.get("function") if isinstance(choice, Mapping) else None
        named = function.get("name") if isinstance(function, Mapping) else choice
        if named not in names:
            raise InputError(f"tool_choice names {named!r:.60}; name one of the tools, {', '.join(names)}.")
        return cls(tuple(tools), forced=True, name=named)

    @property
    def grammar(self) -> str | None:
        """What keeps a reply to a call where it has to be one.

        Raises:
            InputError: the parameters of a tool cannot be written as a grammar.
        """
        if not self.forced:
            return None
        functions = [tool["function"] for tool in self.tools if self.name in (None, tool["function"]["name"])]
        return grammar_of_schema({"anyOf": [_call_schema(function) for function in functions]})


def _name(tool: Tool) -> str:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name, parameters = (
        (function.get("name"), function.get("parameters")) if isinstance(function, Mapping) else ("", None)
    )
    if not isinstance(name, str) or not name.strip() or not isinstance(parameters, Mapping | None):
        raise InputError('A tool must be {"type": "function", "function": {"name": …, "parameters": …}}.')
    return name


def _call_schema(function: Mapping[str, Any]) -> dict[str, Any]:
    arguments = function.get("parameters") or {"type": "object", "properties": {}, "additionalProperties": False}
    return {
        "type": "object",
        "properties": {"name": {"const": function["name"]}, "arguments": closed_objects(arguments)},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


class CallSplitter:
    """Tells calls from the text that stands before them; piece by piece. What only looks like a call is text."""

    def __init__(self, form: CallForm) -> None:
        self._form = form
        self._held = ""
        self._in_text = False

    def passed(self, text: str) -> str:
        """The text that is certain after this piece."""
        if self._in_text:
            return text
        self._held += text
        if self._form in (CallForm.HERMES, CallForm.MISTRAL):
            return self._before(self._form.value)
        begun = self._held.lstrip()
        if self._form is CallForm.LLAMA and begun and not begun.startswith("{"):
            tag = self._form.value
            if not (tag.startswith(begun) or begun.startswith(tag)):
                self._in_text = True
                return self._rest()
        return ""

    def ended(self) -> tuple[str, list[ToolCall]]:
        """The rest of the text, and the calls."""
        held = self._rest()
        try:
            calls = [_call(each) for each in _written(held.strip(), self._form)]
        except (ValueError, TypeError, KeyError, RecursionError):
            calls = []
        return ("", calls) if calls else (held, [])

    def _before(self, marker: str) -> str:
        place = self._held.find(marker)
        if place < 0:
            most = min(len(marker) - 1, len(self._held))
            place = len(self._held) - next((n for n in range(most, 0, -1) if self._held.endswith(marker[:n])), 0)
        certain, self._held = self._held[:place], self._held[place:]
        return certain

    def _rest(self) -> str:
        rest, self._held = self._held, ""
        return rest


def _written(text: str, form: CallForm) -> Iterator[Any]:
    """The calls as they are written, as JSON values. Raises ValueError and its like where they are none."""
    decode = json.JSONDecoder().raw_decode
    if form is CallForm.HERMES:
        while text:
            value, end = decode(_after(text, "<tool_call>"))
            yield value
            text = _after(text, "<tool_call>")[end:].strip().removeprefix("</tool_call>").strip()
        return
    text = text.removeprefix(form.value).strip()
    if form is CallForm.MISTRAL and not text.startswith("["):
        while text:
            name, _, rest = text.removeprefix(form.value).partition("[ARGS]")
            value, end = decode(rest.strip())
            yield {"name": name.partition("[CALL_ID]")[0].strip(), "arguments": value}
            text = rest.strip()[end:].strip()
        return
    value, end = decode(text)
    if form is CallForm.MISTRAL:
        yield from value
    else:
        yield value
    rest = text[end:].lstrip("; \n")
    if rest:
        yield from _written(rest, form)


def _after(text: str, marker: str) -> str:
    if not text.startswith(marker):
        raise ValueError(f"no {marker}")
    return text.removeprefix(marker).lstrip()


def _call(written: Any) -> ToolCall:
    arguments = written["arguments"] if "arguments" in written else written["parameters"]
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    if not isinstance(written["name"], str) or not isinstance(arguments, dict):
        raise TypeError("no call")
    return ToolCall("".join(secrets.choice(_ID_SIGNS) for _ in range(9)), written["name"], arguments)
