"""From chat messages to tokens, through the model's own chat template.

What a user or another model wrote cannot start a turn of its own: the characters that spell special tokens
("<|im_start|>") are marked in the messages, and a spelling of which a character is so marked is tokenised as plain
text, wherever the template has put it and whatever it has put beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import Any, NamedTuple, NoReturn

import jinja2
from jinja2 import meta
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from modular_pluralism.errors import ChatTemplateError, InputError, ModelLoadError
from modular_pluralism.llama.bounded_template import BoundedEnvironment, TooMuchWorkError, bounded
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.reasoning import Reasoning
from modular_pluralism.llama.thinking import Markers, Thinking, closing_of, opened_by
from modular_pluralism.llama.tool_calls import CallForm, Tool, ToolCall

TODAY = date(2024, 7, 26)
"""What templates that print the day take it for, so that a seed gives the same text tomorrow: the day that Llama 3's
print where nobody tells them another."""

# With one of them every marker of reasoning begins, be it a token or not.
_BRACKETS = "<["
_PART = 1 << 14
_ROLES = ("system", "user", "assistant", "developer", "tool")
# Characters that nobody has use for: one of them stands for a marked one while a template is rendered.
_STAND_INS = range(0xF0000, 0x10FFFE)


class Turn(NamedTuple):
    """One message of a chat: `role` is "system", "user", "assistant" or "tool". An assistant's may have called tools,
    and a tool's answers the call of that id."""

    role: str
    content: str
    calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None

    @property
    def is_of_tools(self) -> bool:
        """Whether it is a call, or the answer to one."""
        return bool(self.calls) or self.role == "tool"

    def message(self, content: Any) -> dict[str, Any]:
        """As templates have it, with this content."""
        told: dict[str, Any] = {"role": self.role, "content": content}
        if self.calls:
            told["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.calls
            ]
        return told if self.call_id is None else {**told, "tool_call_id": self.call_id}


class _Rendered(NamedTuple):
    """A prompt, and which of its places hold marked characters of the messages."""

    text: str
    is_data: Callable[[int], bool]


class ChatTemplate:
    """Renders turns to tokens for one model.

    With `raw=True` the contents are joined by blank lines and sent as a completion prompt, without any template; of
    what was said before the last turn, further lines stand behind "> ".
    `template` takes the place of the model's own, and `variables` are what it is given beside the messages, such as
    `enable_thinking`; `strftime_now` is a day such as "2025-12-31", in the place of `TODAY`.

    What a template refuses is put so that it can take it: the text of a system turn stands before that of the first
    user turn where there is no such role, and neighbouring turns of one role become one where roles must alternate.
    Thinking is off, unless `thinking` is true or `variables` say otherwise.

    Raises:
        ModelLoadError: there is no template, or it cannot be used.
    """

    def __init__(
        self,
        model: ModelFile,
        *,
        raw: bool = False,
        template: str | None = None,
        variables: Mapping[str, Any] | None = None,
        thinking: bool = False,
    ) -> None:
        self._model = model
        self._variables = dict(variables or {})
        day = self._variables.get("strftime_now")
        self._variables["strftime_now"] = (date.fromisoformat(str(day)) if day else TODAY).strftime
        self._template: jinja2.Template | None = None
        self.takes_tools = False
        """Whether the model can be told of tools."""
        self.call_form: CallForm | None = None
        """How the model writes calls of tools; None where that is not known."""
        if raw:
            return
        source = template or model.metadata.get("tokenizer.chat_template")
        if not source:
            raise ModelLoadError(
                f"{model.path.name} carries no chat template; name one with template_file, or set template = false to "
                "send it plain completion text."
            )
        environment = _environment()
        try:
            with bounded():
                self._template = environment.from_string(source)
                self._thinking = Thinking(environment, source, self._variables, wanted=thinking)
                self.takes_tools = "tools" in meta.find_undeclared_variables(environment.parse(source))
            self.call_form = CallForm.of_template(source) if self.takes_tools else None
        except Exception as error:  # whoever made the file has written it
            raise ModelLoadError(
                f"The chat template of {model.path.name} cannot be used ({_told(error)}); name another with "
                "template_file, or set template = false."
            ) from None

    def render(self, turns: Sequence[Turn], *, tools: Sequence[Tool] = ()) -> str:
        """The text that the model reads, for showing it to people."""
        return self._join(turns) if self._template is None else self._marked(turns, tools=tools).text

    def opened_by(self, turns: Sequence[Turn]) -> Markers | None:
        """The markers of reasoning that the prompt for these turns begins; None where the reply is text."""
        return None if self._template is None or self._thinking.is_off else opened_by(self._marked(turns).text)

    @property
    def can_think(self) -> bool:
        """Whether a reply can be told to begin with reasoning."""
        hello = [Turn("user", "Hello")]
        return self._template is not None and self._thinking.expected(self._marked(hello).text) is not None

    def reasoning(self, turns: Sequence[Turn], most: int | None) -> Reasoning:
        """What a reply to these turns may begin with, in at most so many tokens.

        Raises:
            ModelLoadError: the template names no marker of reasoning that is known.
        """
        markers = None if self._template is None else self._thinking.expected(self._marked(turns).text)
        if markers is None:
            raise ModelLoadError(
                f"{self._model.path.name} cannot be told to think: its chat template has no marker of reasoning that "
                "is known here; leave thinking out of its [models.*] table."
            )
        begin, end, closing = (
            tuple(self._model.tokenize(text, parse_special=True)) for text in (*markers, closing_of(markers))
        )
        return Reasoning(begin, end, closing, most)

    def tokens(
        self,
        turns: Sequence[Turn],
        *,
        answered_at_once: bool = False,
        tools: Sequence[Tool] = (),
        context: int | None = None,
    ) -> list[int]:
        """The tokens that the model reads, up to and including the start of its own turn; with `answered_at_once`, up
        to where its answer begins, even if it would think first.

        Raises:
            InputError: there are tools, or turns of them, of which the template knows nothing.
            ContextOverflowError: there are far more than `context`; see `ModelFile.tokenize`.
        """
        model = self._model
        if not self.takes_tools and (tools or any(turn.is_of_tools for turn in turns)):
            raise InputError(
                f"The chat template of {model.path.name} takes no tools; leave them out, or name another template with "
                "template_file."
            )
        if self._template is None:
            return model.tokenize(self._join(turns), parse_special=False, add_special=True, context=context)
        rendered = self._marked(turns, answered_at_once=answered_at_once, tools=tools)
        tokens = model.tokenize(rendered.text, parse_special=True, is_data=rendered.is_data, context=context)
        # Many templates leave the begin-of-text token to who tokenises what they print, and others print it.
        return [model.begin_token, *tokens] if model.wants_begin and tokens[:1] != [model.begin_token] else tokens

    @staticmethod
    def _join(turns: Sequence[Turn]) -> str:
        """What users and models said before the last turn stands in one paragraph each, with "> " before its further
        lines: nobody can write what reads like another turn."""
        before = [
            turn.content if turn.role == "system" else "\n> ".join(turn.content.splitlines()) for turn in turns[:-1]
        ]
        return "\n\n".join([*before, *(turn.content for turn in turns[-1:])])

    def _marked(
        self, turns: Sequence[Turn], *, answered_at_once: bool = False, tools: Sequence[Tool] = ()
    ) -> _Rendered:
        unusual = "".join(turn.role for turn in turns if turn.role not in _ROLES)
        marks = sorted({*self._model.special_tokens.marks, *_BRACKETS, *unusual})
        block = self._free_block([*turns, *tools], len(marks))
        stand_ins = dict(zip(map(ord, marks), block, strict=True))
        marked = [
            Turn(
                turn.role if turn.role in _ROLES else turn.role.translate(stand_ins),
                _translated_text(turn.content, stand_ins),
                tuple(ToolCall(**_translated(vars(call), stand_ins)) for call in turn.calls),
                turn.call_id and turn.call_id.translate(stand_ins),
            )
            for turn in turns
        ]
        text = self._render(marked, [_translated(tool, stand_ins) for tool in tools])
        text += self._thinking.closing(text, answered_at_once=answered_at_once)
        known = {chr(code) for code in block}
        return _Rendered(
            _translated_text(text, {code: mark for mark, code in stand_ins.items()}), lambda place: text[place] in known
        )

    @staticmethod
    def _free_block(told: Sequence[Turn | Tool], size: int) -> range:
        """So many stand-ins that are in none of the messages and tools."""
        taken = {ord(sign) for each in told for text in _texts(each) for sign in set(text)}
        for start in range(_STAND_INS.start, _STAND_INS.stop - size, max(1, size)):
            block = range(start, start + size)
            if not taken.intersection(block):
                return block
        raise InputError("The messages hold characters of every private block of Unicode; take them out.")

    # -- what the template takes ---------------------------------------------------------------------------------------

    def _render(self, turns: Sequence[Turn], tools: Sequence[Tool] = ()) -> str:
        given = turns if self._takes_system else _without_system(turns)
        try:
            return self._print(given, tools)
        except ChatTemplateError:
            if given == (alternating := _alternating(given)):
                raise
            return self._print(alternating, tools)

    @cached_property
    def _takes_system(self) -> bool:
        """Whether the text of a system turn reaches the prompt."""
        try:
            return _PROBE in self._print([Turn("system", _PROBE), Turn("user", "Hello")])
        except ChatTemplateError:
            return False

    @cached_property
    def _takes_text(self) -> bool:
        """Whether a content may be a text, and need not be a list of blocks."""
        try:
            return _PROBE in self._call([{"role": "user", "content": _PROBE}])
        except ChatTemplateError:
            return True  # what it says of a text tells more than what it says of blocks

    def _print(self, turns: Sequence[Turn], tools: Sequence[Tool] = ()) -> str:
        if self._takes_text:
            return self._call([turn.message(turn.content) for turn in turns], tools)
        return self._call([turn.message([{"type": "text", "text": turn.content}]) for turn in turns], tools)

    def _call(self, messages: list[Any], tools: Sequence[Tool] = ()) -> str:
        assert self._template is not None
        model = self._model
        known = {
            "messages": messages,
            "add_generation_prompt": True,
            "bos_token": model.token_text(model.begin_token) if model.begin_token >= 0 else "",
            "eos_token": model.token_text(model.end_token) if model.end_token >= 0 else "",
            **({"tools": list(tools)} if tools else {}),
        }
        signs = sum(map(len, _texts([messages, list(tools)])))
        try:
            with bounded(len(messages) + len(tools), signs):
                return self._template.render(**known, **self._thinking.variables, **self._variables)
        except _RefusedError as error:
            raise ChatTemplateError(
                f"The chat template of {model.path.name} refuses these messages: {_told(error)}."
            ) from None
        except Exception as error:  # a template is a program of others: it may fail of anything
            raise ChatTemplateError(
                f"The chat template of {model.path.name} failed ({_told(error)}); name another with template_file, or "
                "set template = false."
            ) from None


_PROBE = "zebra 47"
_MOST_TOLD = 300
"""Signs of a template's own words in an error."""


def _told(error: Exception) -> str:
    """What went wrong in a template, on one line."""
    said = " ".join(str(error)[:_MOST_TOLD].split())
    if isinstance(error, _RefusedError | TooMuchWorkError | jinja2.TemplateError):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, ToolCall):
        yield from _texts(vars(value))
    elif isinstance(value, Mapping):
        yield from _texts([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def _translated_text(text: str, table: Mapping[int, int]) -> str:
    """The text with other characters; in parts, since no other thread can run while Python translates one."""
    return "".join(text[at : at + _PART].translate(table) for at in range(0, len(text), _PART))


def _translated(value: Any, table: Mapping[int, int]) -> Any:
    """The value, in whose texts characters are others. Plain names stay, since templates look at them."""
    if isinstance(value, str):
        return value if value.isidentifier() else value.translate(table)
    if isinstance(value, Mapping):
        return {_translated(name, table): _translated(each, table) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_translated(each, table) for each in value]
    return value


def _without_system(turns: Sequence[Turn]) -> list[Turn]:
    """The system turns' text before that of the first user turn, or as a user turn where there is none."""
    system = [turn.content for turn in turns if turn.role == "system"]
    others = [turn for turn in turns if turn.role != "system"]
    if not system:
        return others
    first = next((at for at, turn in enumerate(others) if turn.role == "user"), None)
    if first is None:
        return [Turn("user", "\n\n".join(system)), *others]
    others[first] = Turn("user", "\n\n".join([*system, others[first].content]))
    return others


def _alternating(turns: Iterable[Turn]) -> list[Turn]:
    """The turns, of which neighbours of one role have become one."""
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1].role == turn.role and not (joined[-1].is_of_tools or turn.is_of_tools):
            joined[-1] = Turn(turn.role, f"{joined[-1].content}\n\n{turn.content}")
        else:
            joined.append(turn)
    return joined


class _RefusedError(Exception):
    """The template's own `raise_exception`."""


class _GenerationTag(Extension):
    """`{% generation %}`, with which templates mark what was generated: here it is as if it were not there."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own declaration

    def parse(self, parser: Parser) -> list[Node]:
        """See jinja2."""
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


def _environment() -> BoundedEnvironment:
    """As transformers renders chat templates: they are written for that."""
    environment = BoundedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols])
    environment.filters["tojson"] = Jinja2ChatFormatter.tojson
    environment.globals["raise_exception"] = _refuse
    environment.count_filters()
    return environment


def _refuse(message: object) -> NoReturn:
    raise _RefusedError(str(message).rstrip(" ."))
