"""Generating text: what is asked for, what is delivered, and the job that does it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from modular_pluralism.errors import InputError
from modular_pluralism.llama.grammar import Grammar
from modular_pluralism.llama.job import Adapter, JobControl, Track, deadline_after
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.reasoning import Place, Reasoning, ReasoningStream
from modular_pluralism.llama.sampling import Row, Sampler, Sampling, likeliest, log_normaliser
from modular_pluralism.llama.text_stream import TextStream


@dataclass(frozen=True)
class GenerationRequest:
    """One text to generate.

    `tokens`: the prompt. `max_tokens`: the most tokens to generate; the context may end the text earlier.
    `top_logprobs`: None for no log-probabilities, else how many alternatives are reported beside each chosen token.
    `grammar`: what the text must keep to (see `grammar_of_schema`); a text that ends by its length may be a part only.
    `timeout`: seconds until it fails with DeadlineError, waiting included. `ignore_end`: go on to `max_tokens` even
    where the model would end; for measuring speed on texts of equal length. `reasoning`: what may stand before the
    text; its tokens are not of `max_tokens`, and neither stop strings nor a grammar hold in it.
    """

    tokens: tuple[int, ...]
    max_tokens: int = 512
    sampling: Sampling = Sampling()  # noqa: RUF009 - frozen
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    adapter: Adapter | None = None
    grammar: str | None = None
    timeout: float | None = None
    ignore_end: bool = False
    reasoning: Reasoning | None = None

    def __post_init__(self) -> None:
        if not self.tokens:
            raise InputError("The prompt is empty; give the model at least one token to read.")
        if self.max_tokens < 1:
            raise InputError(f"max_tokens is {self.max_tokens}; ask for at least 1.")
        if self.top_logprobs is not None and self.top_logprobs < 0:
            raise InputError(f"top_logprobs is {self.top_logprobs}; use 0 or more.")
        if any(not stop for stop in self.stop):
            raise InputError("A stop string is empty; leave it out.")


@dataclass(frozen=True)
class TokenLogprob:
    """A chosen token, its log-probability (natural log, before any filter or temperature), and the likeliest ones."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Piece:
    """Some more text. `tokens` are those that completed it; it may be empty while text is held back.

    `reasoning` is what stands before the text and is no part of it; its tokens have no log-probabilities.
    """

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()
    reasoning: str = ""


@dataclass(frozen=True)
class Finish:
    """The end of a generated text: "stop" (the model's end token or a stop string) or "length"."""

    reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int
    reused_tokens: int = field(default=0, compare=False)
    """Prompt tokens that were in the cache already."""
    end: TokenLogprob | None = field(default=None, compare=False)
    """The token that ended the text, which is no text; where log-probabilities were asked for."""
    reasoning_tokens: int = field(default=0, compare=False)
    """Those of `completion_tokens` that are reasoning and its markers."""


Event = Piece | Finish | Exception


@dataclass(eq=False)
class GenerationJob:
    """Generates one text and hands each event to `deliver`, which is called on the engine's thread. `bare` tokens of
    the prompt are read before the adapter is switched on."""

    request: GenerationRequest
    model: ModelFile
    context: int
    deliver: Callable[[Event], None]
    bare: int = 0
    control: JobControl = field(init=False)
    adapter: Adapter | None = field(init=False)

    def __post_init__(self) -> None:
        self.control = JobControl(deadline_after(self.request.timeout))
        self.adapter = self.request.adapter
        self._sampler = Sampler(self.request.sampling)
        self._grammar = None if self.request.grammar is None else Grammar(self.model, self.request.grammar)
        self._text = TextStream(self.request.stop)
        self._room = self.context - len(self.request.tokens)
        reasoning = self.request.reasoning
        self._reasoning = None if reasoning is None else ReasoningStream(self.model, reasoning)
        self._thought = TextStream()
        self._forced = deque[int]()
        self._generated = self._reasoned = 0
        self._reused: int | None = None
        self._reason: Literal["stop", "length"] = "length"
        self._end: TokenLogprob | None = None

    def next_track(self) -> Track | None:
        """See Job: there is one."""
        if self._reused is not None:
            return None
        self._reused = 0
        tokens = list(self.request.tokens)
        return Track(self, tokens, first_output=len(tokens) - 1, bare=self.bare)

    def on_reuse(self, tokens: int) -> None:
        """See Job."""
        self._reused = tokens

    def on_logits(self, track: Track, position: int, logits: Row) -> None:
        """Draw the next token; unless it ends the text, it becomes the track's next token to read."""
        within = self._is_within
        token = self._next_token(logits)
        self._generated += 1
        if self.model.is_end(token) and not within and not self.request.ignore_end:
            self._reason = "stop"
            self._end = next(iter(self._logprobs(token, logits)), None)
            return
        thought, said = (b"", self.model.piece(token)) if self._reasoning is None else self._reasoning.feed(token)
        if self._grammar is not None and not (within or self._is_within):
            self._grammar.accept(token)
        if within or self._is_within:
            self._reasoned = self._generated
            self.deliver(Piece(self._text.feed(said), (token,), reasoning=self._thought.feed(thought)))
        else:
            self.deliver(Piece(self._text.feed(said), (token,), self._logprobs(token, logits)))
        if self._text.stopped or (self._grammar is not None and self._grammar.complete):
            self._reason = "stop"
        elif self._goes_on:
            track.tokens.append(token)

    def _next_token(self, logits: Row) -> int:
        """The token that is drawn; where a marker has to be written, the next one of it."""
        reasoning = self.request.reasoning
        if reasoning is None or not self._is_within:
            if self._grammar is None:
                return self._sampler.draw(logits)
            may_begin = reasoning is not None and not self._generated and reasoning.begin
            # The grammar is the text's, and knows no marker: who begins one writes all of it.
            if may_begin and (first := self._sampler.draw(logits)) == may_begin[0]:
                self._forced.extend(may_begin[1:])
                return first
            return self._sampler.draw(self._grammar.mask(logits))
        if not self._forced:
            drawn = None if self._reasoned >= self._most_reasoning else self._sampler.draw(logits)
            if drawn is not None and not self.model.is_end(drawn):
                return drawn
            self._forced.extend(reasoning.closing)  # a model that ends here has thought and not answered
        return self._forced.popleft()

    @property
    def _is_within(self) -> bool:
        """Whether reasoning, or a marker of it, is being written."""
        return self._reasoning is not None and (self._reasoning.place is Place.REASONING or bool(self._forced))

    @property
    def _most_reasoning(self) -> int:
        """What the budget and the context allow, so that the text has its own tokens, or half of the context where they
        would fill it."""
        assert self.request.reasoning is not None
        left = self._room - len(self.request.reasoning.closing)
        left -= min(self.request.max_tokens, left // 2)
        return left if self.request.reasoning.most is None else min(left, self.request.reasoning.most)

    @property
    def _goes_on(self) -> bool:
        if self._generated >= self._room:
            return False
        if self._is_within:
            return True
        undecided = self._reasoning is not None and self._reasoning.place is Place.BEFORE
        marker = len(self.request.reasoning.begin) if undecided and self.request.reasoning is not None else 0
        return self._generated - self._reasoned < self.request.max_tokens + marker

    def _logprobs(self, token: int, logits: Row) -> tuple[TokenLogprob, ...]:
        count = self.request.top_logprobs
        if count is None:
            return ()
        count = min(count, logits.size)
        normaliser = log_normaliser(logits)
        top = tuple((int(other), float(logits[other]) - normaliser) for other in likeliest(logits, count))
        return (TokenLogprob(token, float(logits[token]) - normaliser, top),)

    def finish(self) -> None:
        """See Job."""
        thought, said = (b"", b"") if self._reasoning is None else self._reasoning.finish()
        rest = self._text.feed(said) + self._text.finish()
        reasoning = self._thought.feed(thought) + self._thought.finish()
        if rest or reasoning:
            self.deliver(Piece(rest, (), reasoning=reasoning))
        self.deliver(
            Finish(
                self._reason,
                len(self.request.tokens),
                self._generated,
                self._reused or 0,
                self._end,
                self._reasoned,
            )
        )

    def fail(self, error: Exception) -> None:
        """See Job."""
        self.deliver(error)
