"""Raw texts from an embedded model: no chat template, and the scores of a prompt's own tokens where they are wanted."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from modular_pluralism.errors import ContextOverflowError
from modular_pluralism.llama import ChatLlama, GenerationRequest
from modular_pluralism.llama.engine import Engine
from modular_pluralism.llama.generation import Finish, Piece, TokenLogprob
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.reading import prompt_tokens
from modular_pluralism.serving.answers import Delta, End, Event, Tokens
from modular_pluralism.serving.concurrency import pumped
from modular_pluralism.serving.schemas import CompletionRequest, Prompt, seed_of_choice
from modular_pluralism.serving.tokenizer import check_tokens, shown, text_of


async def embedded_events(chat: ChatLlama, request: CompletionRequest) -> AsyncIterator[Event]:
    """The texts, in OpenAI's order: all of a prompt, then those of the next. Raises as a Talker does."""
    await chat.aload()
    seed = request.first_seed()

    def read() -> list[_Text]:
        tokens = [_tokens(chat.engine, prompt) for prompt in request.prompt]
        prompts = [prompt for prompt in zip(request.prompt, tokens, strict=True) for _ in range(request.choices)]
        return [_Text(chat, request, *prompt, seed, index) for index, prompt in enumerate(prompts)]

    texts = await asyncio.to_thread(read)
    async with pumped(*(text.events() for text in texts)) as events:
        async for event in events:
            yield event


def _tokens(engine: Engine, prompt: Prompt) -> list[int]:
    if isinstance(prompt, str):
        # What a user wrote is never read as a control token.
        return engine.model.tokenize(prompt, parse_special=False, add_special=True, context=engine.context)
    check_tokens(engine.model, prompt)
    return prompt


class _Text:
    """One text to a prompt, which has these tokens."""

    def __init__(
        self, chat: ChatLlama, request: CompletionRequest, prompt: Prompt, tokens: list[int], seed: int, index: int
    ) -> None:
        self._chat = chat
        self._engine = chat.engine
        self._model = self._engine.model
        self._request = request
        self._seed = seed
        self._index = index
        self._tokens = tokens
        self._prompt = prompt if isinstance(prompt, str) else text_of(self._model, prompt)
        self._check_length()

    async def events(self) -> AsyncIterator[Event]:
        """The text as it is written, or all at once, which is cheaper.

        Raises:
            PluralismError: it failed.
        """
        if not self._request.stream:  # an answer without a token has an empty table, too
            yield self._delta("", self._table().rows(None, []))
        if self._request.echo:
            yield await self._echo()
        if not self._request.most_tokens:
            yield self._end("length", Tokens(len(self._tokens)))
            return
        table, generation = self._table(), self._generation()
        engine = self._engine
        made = engine.astream(generation) if self._request.stream else _each(await engine.agenerate(generation))
        async with aclosing(made) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Finish):
                    if event.end is not None:  # as elsewhere; clients that leave out the last row count on it
                        yield self._delta("", table.rows(None, [event.end]))
                    tokens = Tokens(event.prompt_tokens, event.reused_tokens, event.completion_tokens)
                    yield self._end(event.reason, tokens)
                elif event.text or event.logprobs:
                    yield self._delta(event.text, table.rows(None, event.logprobs))

    def _check_length(self) -> None:
        if len(self._tokens) + min(1, self._request.most_tokens) > self._engine.context:
            raise ContextOverflowError(
                f"The prompt has {len(self._tokens)} tokens, beside which one more has to fit, and the context of this "
                f"model holds {self._engine.context}; shorten the prompt."
            )

    async def _echo(self) -> Delta:
        """The prompt as the beginning of the text."""
        if self._request.logprobs is None:
            return self._delta(self._prompt, {})
        scored: list[TokenLogprob] = []
        if len(self._tokens) > 1:  # nothing comes before the first one
            reading = prompt_tokens(self._tokens, self._request.logprobs)
            scored = await self._engine.aread(reading, adapter=self._chat.adapter, timeout=self._chat.timeout)
        table = LogprobTable(self._model)  # of a long prompt, with twenty alternatives for each token
        return self._delta(self._prompt, await asyncio.to_thread(table.rows, self._tokens[0], scored))

    def _delta(self, text: str, logprobs: dict[str, list[Any]]) -> Delta:
        return Delta(self._index, text, None if self._request.logprobs is None else logprobs)

    def _end(self, reason: str, tokens: Tokens) -> End:
        choice = self._index % self._request.choices
        return End(self._index, reason, tokens.of_choice(choice), {"seed": self._seed})

    def _table(self) -> LogprobTable:
        return LogprobTable(self._model, len(self._prompt) if self._request.echo else 0)

    def _generation(self) -> GenerationRequest:
        request = self._request
        return self._chat.request(
            self._tokens,
            request.stop or (),
            max_tokens=request.most_tokens,
            temperature=request.temperature,
            top_p=request.engine_top_p,
            seed=seed_of_choice(self._seed, self._index % request.choices),
            logprobs=request.logprobs is not None,
            top_logprobs=request.logprobs,
        )


async def _each(events: Sequence[Piece | Finish]) -> AsyncIterator[Piece | Finish]:
    for event in events:
        yield event


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
