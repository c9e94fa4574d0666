"""From chat messages to tokens, through the model's own chat template.

What a user or another model wrote cannot start a turn of its own: where a message contains the spelling of a control
token ("<|im_start|>"), that spelling is tokenised as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jinja2
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from modular_pluralism.errors import InputError, ModelLoadError
from modular_pluralism.llama.model_file import ModelFile

# Private-use characters around a number stand in for a control spelling while the template is rendered.
_OPEN, _CLOSE = "\uf8f0", "\uf8f1"
_STAND_IN = re.compile(f"{_OPEN}(\\d+){_CLOSE}")


class Turn(NamedTuple):
    """One message of a chat: `role` is "system", "user" or "assistant"."""

    role: str
    content: str


class ChatTemplate:
    """Renders turns to tokens for one model.

    With `raw=True` the contents are joined by blank lines and sent as a completion prompt, without any template.
    """

    def __init__(self, model: ModelFile, *, raw: bool = False) -> None:
        self._model = model
        spellings = sorted([_OPEN, _CLOSE, *filter(None, model.control_tokens.values())], key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, spellings)))
        template = model.metadata.get("tokenizer.chat_template")
        self._formatter: Jinja2ChatFormatter | None = None
        if raw:
            return
        if not template:
            raise ModelLoadError(
                f"{model.path.name} carries no chat template; set template = false to send it plain completion text."
            )
        try:
            self._formatter = Jinja2ChatFormatter(
                template=template,
                bos_token=model.token_text(model.begin_token) if model.begin_token >= 0 else "",
                eos_token=model.token_text(model.end_token) if model.end_token >= 0 else "",
            )
        except jinja2.TemplateError as error:
            raise ModelLoadError(f"The chat template of {model.path.name} cannot be used: {error}.") from None

    def render(self, turns: Sequence[Turn]) -> str:
        """The text that the model reads, for showing it to people."""
        spellings: list[str] = []
        text = self._render(turns, spellings)
        return _STAND_IN.sub(lambda match: spellings[int(match[1])], text)

    def tokens(self, turns: Sequence[Turn]) -> list[int]:
        """The tokens that the model reads, up to and including the start of its own turn."""
        if self._formatter is None:
            return self._model.tokenize(self._join(turns), parse_special=False, add_special=True)
        spellings: list[str] = []
        tokens: list[int] = []
        for index, part in enumerate(_STAND_IN.split(self._render(turns, spellings))):
            is_stand_in = index % 2 == 1
            text = spellings[int(part)] if is_stand_in else part
            tokens += self._model.tokenize(text, parse_special=not is_stand_in)
        return tokens

    def _render(self, turns: Sequence[Turn], spellings: list[str]) -> str:
        if self._formatter is None:
            return self._join(turns)
        messages: list[Any] = [
            {"role": self._set_aside(turn.role, spellings), "content": self._set_aside(turn.content, spellings)}
            for turn in turns
        ]
        try:
            return str(self._formatter(messages=messages).prompt)
        except (jinja2.TemplateError, ValueError) as error:
            raise InputError(f"The chat template of {self._model.path.name} refuses these messages: {error}.") from None

    @staticmethod
    def _join(turns: Sequence[Turn]) -> str:
        return "\n\n".join(turn.content for turn in turns)

    def _set_aside(self, content: str, spellings: list[str]) -> str:
        """Replace each control spelling in `content` by a numbered stand-in, and remember it."""

        def stand_in(match: re.Match[str]) -> str:
            spellings.append(match[0])
            return f"{_OPEN}{len(spellings) - 1}{_CLOSE}"

        return self._control.sub(stand_in, content)
