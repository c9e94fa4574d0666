"""Tokens as text: how each is shown, and where it stands in the text."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from modular_pluralism.llama.generation import TokenLogprob
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.serving.api_error import ApiError


def check_tokens(model: ModelFile, tokens: Sequence[int]) -> None:
    """Raise ApiError, 400, unless all tokens are in the vocabulary: llama.cpp would end the process."""
    if not all(0 <= token < model.n_vocab for token in tokens):
        raise ApiError(
            400, f"A token is not in the vocabulary of this model, whose tokens are 0 to {model.n_vocab - 1}."
        )


def shown(model: ModelFile, token: int) -> str:
    """A token by itself: its text, a control token's spelling, or its bytes where they are no whole characters."""
    data = model.piece(token)
    if not data:
        return model.token_text(token)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def text_of(model: ModelFile, tokens: Sequence[int]) -> str:
    """The text that tokens spell; control tokens are no text."""
    return b"".join(map(model.piece, tokens)).decode("utf-8", "replace")


class LogprobTable:
    """Fills the `logprobs` of a completion. `start` is where its first token stands in the text, in characters."""

    def __init__(self, model: ModelFile, start: int = 0) -> None:
        self._model = model
        self._at = start
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def rows(self, first: int | None, scored: Sequence[TokenLogprob]) -> dict[str, list[Any]]:
        """OpenAI's four columns for more tokens; `first` is a text's first token, which nothing comes before."""
        columns: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        if first is not None:
            self._add(columns, first, None, None)
        for each in scored:
            self._add(columns, each.token, each.logprob, self._top(each))
        return columns

    def _add(self, columns: dict[str, list[Any]], token: int, logprob: float | None, top: Any) -> None:
        row = {
            "tokens": shown(self._model, token),
            "token_logprobs": logprob,
            "top_logprobs": top,
            "text_offset": self._at,
        }
        for name, value in row.items():
            columns[name].append(value)
        self._at += len(self._decoder.decode(self._model.piece(token)))

    def _top(self, scored: TokenLogprob) -> dict[str, float]:
        """The likeliest tokens and the one that stands there. Of two tokens with the same text, the likelier one."""
        found: dict[str, float] = {}
        for token, logprob in sorted([*scored.top, (scored.token, scored.logprob)], key=lambda each: -each[1]):
            found.setdefault(shown(self._model, token), logprob)
        return found


def joined(tables: Sequence[dict[str, list[Any]]]) -> dict[str, list[Any]]:
    """Tables one below the other."""
    return {name: [value for table in tables for value in table[name]] for name in tables[0]}
