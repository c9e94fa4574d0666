"""Raw texts from an embedded model: no chat template, and the scores of a prompt's own tokens where they are wanted."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from modular_pluralism.errors import ContextOverflowError
from modular_pluralism.llama import ChatLlama, GenerationRequest, Sampling
from modular_pluralism.llama.generation import Finish, Piece, TokenLogprob
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.serving.answers import End, Tokens
from modular_pluralism.serving.sampling import top_p_of
from modular_pluralism.serving.schemas import CompletionRequest, Prompt
from modular_pluralism.serving.tokenizer import check_tokens, shown, text_of

Table = dict[str, list[Any]]


@dataclass(frozen=True)
class Part:
    """Some more text of a completion."""

    index: int
    text: str
    logprobs: Table | None


@dataclass(frozen=True)
class Completion:
    """One whole text."""

    text: str
    finish_reason: str
    logprobs: Table | None
    tokens: Tokens


class Completer:
    """Completes one prompt of a request."""

    def __init__(self, chat: ChatLlama, request: CompletionRequest, prompt: Prompt, seed: int, index: int) -> None:
        self._chat = chat
        self._engine = chat.engine
        self._model = self._engine.model
        self._request = request
        self._index = index
        if isinstance(prompt, str):
            # What a user wrote is never read as a control token.
            self._tokens = self._model.tokenize(prompt, parse_special=False, add_special=True)
            self._text = prompt
        else:
            check_tokens(self._model, prompt)
            self._tokens, self._text = prompt, text_of(self._model, prompt)
        self._seed = seed
        self._check_length()

    async def whole(self) -> Completion:
        """The text as a whole.

        Raises:
            PluralismError: it failed.
        """
        echo = await self._echo()
        parts = [] if echo is None else [echo]
        finish = Finish("length", len(self._tokens), 0)
        if self._request.most_tokens:
            table = self._table()
            for event in await self._engine.agenerate(self._generation()):
                if isinstance(event, Finish):
                    finish = event
                else:
                    parts.append(self._part(event, table))
        tables = [part.logprobs for part in parts if part.logprobs is not None]
        empty = None if self._request.logprobs is None else LogprobTable(self._model).rows(None, [])
        return Completion(
            "".join(part.text for part in parts), finish.reason, joined(tables) if tables else empty, _tokens(finish)
        )

    async def parts(self) -> AsyncIterator[Part | End]:
        """The text as it is written. Raises as `whole` does."""
        echo = await self._echo()
        if echo is not None:
            yield echo
        if not self._request.most_tokens:
            yield End(self._index, "length", Tokens(len(self._tokens)))
            return
        table = self._table()
        async with aclosing(self._engine.astream(self._generation())) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Finish):
                    yield End(self._index, event.reason, _tokens(event))
                elif event.text or event.logprobs:
                    yield self._part(event, table)

    def _check_length(self) -> None:
        if len(self._tokens) + min(1, self._request.most_tokens) > self._engine.context:
            raise ContextOverflowError(
                f"The prompt has {len(self._tokens)} tokens, beside which one more has to fit, and the context of this "
                f"model holds {self._engine.context}; shorten the prompt."
            )

    async def _echo(self) -> Part | None:
        """The prompt as the beginning of the text."""
        if not self._request.echo:
            return None
        if self._request.logprobs is None:
            return Part(self._index, self._text, None)
        scored = await self._engine.aprompt_logprobs(
            self._tokens, top=self._request.logprobs, adapter=self._chat.adapter, timeout=self._chat.timeout
        )
        return Part(self._index, self._text, LogprobTable(self._model).rows(self._tokens[0], scored))

    def _table(self) -> LogprobTable:
        return LogprobTable(self._model, len(self._text) if self._request.echo else 0)

    def _part(self, piece: Piece, table: LogprobTable) -> Part:
        logprobs = None if self._request.logprobs is None else table.rows(None, piece.logprobs)
        return Part(self._index, piece.text, logprobs)

    def _generation(self) -> GenerationRequest:
        chat, request = self._chat, self._request
        return GenerationRequest(
            tokens=tuple(self._tokens),
            max_tokens=request.most_tokens,
            sampling=Sampling(
                temperature=chat.temperature if request.temperature is None else request.temperature,
                top_p=chat.top_p if request.top_p is None else top_p_of(request.top_p),
                top_k=chat.top_k,
                min_p=chat.min_p,
                seed=self._seed,
            ),
            stop=tuple(request.stop or ()),
            top_logprobs=request.logprobs,
            adapter=chat.adapter,
            timeout=chat.timeout,
        )


def _tokens(finish: Finish) -> Tokens:
    return Tokens(finish.prompt_tokens, finish.reused_tokens, finish.completion_tokens)


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
        for entry in scored:
            self._add(columns, entry.token, entry.logprob, self._top(entry))
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
        likeliest: dict[str, float] = {}
        for token, logprob in sorted([*scored.top, (scored.token, scored.logprob)], key=lambda entry: -entry[1]):
            likeliest.setdefault(shown(self._model, token), logprob)
        return likeliest


def joined(tables: Sequence[dict[str, list[Any]]]) -> dict[str, list[Any]]:
    """Tables one below the other."""
    return {name: [value for table in tables for value in table[name]] for name in tables[0]}
