"""One loaded GGUF: the weights, the vocabulary, and the adapters that go with them."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from llama_cpp import _logger as llama_cpp_logger
from llama_cpp import llama_cpp as native

from modular_pluralism.errors import ContextOverflowError, EngineClosedError, InputError, ModelLoadError
from modular_pluralism.hardware import Hardware
from modular_pluralism.llama.captured_log import captured_log, reason
from modular_pluralism.llama.devices import start_backend
from modular_pluralism.llama.gguf_header import check_is_gguf, read_whole_header
from modular_pluralism.llama.gguf_parts import check_parts
from modular_pluralism.llama.host import usable_memory
from modular_pluralism.llama.job import Adapter
from modular_pluralism.llama.memory import HOST, MemoryPlan, cannot_be_loaded, gpu_layers_of
from modular_pluralism.llama.model_kind import check_counts, check_gives_vectors, check_is_decoder
from modular_pluralism.llama.parameters import model_parameters
from modular_pluralism.llama.special_tokens import OwnCuts, SpecialTokens
from modular_pluralism.llama.trial import Use, try_first

_CONTROL = native.LLAMA_TOKEN_ATTR_CONTROL | native.LLAMA_TOKEN_ATTR_UNKNOWN
_SPACED = (native.LLAMA_VOCAB_TYPE_SPM, native.LLAMA_VOCAB_TYPE_UGM)

_LONG = 16
"""Characters of a text for each token of a context, beyond which its beginning is looked at first."""
_EDGE = 64
"""Tokens at the end of a text's beginning that may be others, or fewer, where the text goes on."""


def _start_backend() -> None:
    # As llama_cpp.Llama(verbose=False) does; an application that has set this logger's level keeps it.
    if llama_cpp_logger.logger.level == logging.NOTSET:
        llama_cpp_logger.logger.setLevel(logging.ERROR)
    start_backend()


def check_fits(path: Path, size: int) -> None:
    """Raise ModelLoadError where weights of `size` bytes would not fit into the host's memory: the process would be
    killed without a word."""
    free = usable_memory()
    if free is not None and size > free:
        raise ModelLoadError(
            f"{path} needs {size / 2**30:.2f} GiB of memory for its weights, and {free / 2**30:.2f} GiB are free; "
            "use a smaller file or a larger machine."
        )


class ModelFile:
    """The weights and the vocabulary of one GGUF file, shared by every sequence that uses them; or, with
    `vocabulary_only`, the vocabulary and what the file says of itself.

    Args:
        path: The file, or the first of a split one.
        hardware: How it is laid on the machine.
        plan: What it will take there; without one, everything lies in the host's memory.
        vocabulary_only: Read no weights.
        vectors: It is to give vectors, and need not write texts.

    Raises:
        ModelLoadError: the file is missing, unreadable, not GGUF, or llama.cpp cannot use it.
    """

    def __init__(
        self,
        path: Path,
        hardware: Hardware | None = None,
        plan: MemoryPlan | None = None,
        *,
        vocabulary_only: bool = False,
        vectors: bool = False,
    ) -> None:
        hardware = hardware or Hardware()
        path = check_parts(path)
        self._use: Use = "vocabulary" if vocabulary_only else "vectors" if vectors else "text"
        header = read_whole_header(path)
        sizes = header.tensors
        if not vocabulary_only:
            check_counts(header, path)
            check_fits(path, sum(sizes.values()) if plan is None else plan.on(HOST).weights)
        try_first(path, self._use)
        _start_backend()
        self.path = path
        parameters = model_parameters(hardware, 0 if plan is None else gpu_layers_of(plan, hardware))
        parameters.vocab_only = vocabulary_only
        with captured_log() as log:
            self.pointer = native.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self.pointer:
            raise ModelLoadError(cannot_be_loaded(path, log, sizes))
        if not vocabulary_only:
            try:
                (check_gives_vectors if vectors else check_is_decoder)(self.pointer, path)
            except ModelLoadError:
                native.llama_model_free(self.pointer)
                raise
        self._vocabulary = native.llama_model_get_vocab(self.pointer)
        self._changed = threading.Condition()
        self._readers = 0
        self._owners = 1
        self.n_vocab: int = native.llama_vocab_n_tokens(self._vocabulary)
        self.begin_token: int = native.llama_vocab_bos(self._vocabulary)
        """The begin-of-text token, or -1."""
        self.end_token: int = native.llama_vocab_eos(self._vocabulary)
        """The end-of-text token, or -1."""
        turn_end: int = native.llama_vocab_eot(self._vocabulary)
        self.turn_end_token = turn_end if turn_end >= 0 else self.end_token
        """The token with which the model ends a turn; the end-of-text token where it has no other."""
        self.wants_begin = bool(native.llama_vocab_get_add_bos(self._vocabulary)) and self.begin_token >= 0
        """Whether texts begin with the begin-of-text token."""
        self._begins_with_space = native.llama_vocab_type(self._vocabulary) in _SPACED
        self.n_ctx_train: int = native.llama_model_n_ctx_train(self.pointer)
        self.is_recurrent = bool(
            native.llama_model_is_recurrent(self.pointer) or native.llama_model_is_hybrid(self.pointer)
        )
        """Whether any layer keeps a state in which single tokens cannot be told apart."""
        self.window: int = max(0, native.llama_model_n_swa(self.pointer))
        """Tokens that its sliding windows hold, or 0."""
        self.metadata = self._read_metadata()
        self._adapters: dict[Path, Any] = {}
        self._invocations: dict[Path, list[int]] = {}
        self._pieces: dict[int, bytes] = {}
        self._ends: dict[int, bool] = {}

    def _read_metadata(self) -> dict[str, str]:
        size = 1 << 20
        buffer = ctypes.create_string_buffer(size)
        metadata = {}
        for index in range(native.llama_model_meta_count(self.pointer)):
            native.llama_model_meta_key_by_index(self.pointer, index, buffer, size)
            key = buffer.value.decode("utf-8", "replace")
            native.llama_model_meta_val_str_by_index(self.pointer, index, buffer, size)
            metadata[key] = buffer.value.decode("utf-8", "replace")
        return metadata

    @contextlib.contextmanager
    def open_vocabulary(self) -> Iterator[Any]:
        """The vocabulary, which another thread cannot free meanwhile. Any number may read it at once: one long text
        would else hold up whoever wants a token's letters."""
        with self._changed:
            if self.pointer is None:
                raise EngineClosedError(f"The engine of {self.path.name} is closed; open the pool again.")
            self._readers += 1
        try:
            yield self._vocabulary
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    def tokenize(
        self,
        text: str,
        *,
        parse_special: bool,
        add_special: bool = False,
        is_data: Callable[[int], bool] | None = None,
        context: int | None = None,
    ) -> list[int]:
        """The tokens of `text`, in time linear in its length.

        `parse_special` turns texts such as "<|im_end|>" into the tokens that templates use, except where a character of
        it is data: `is_data` tells that of each place in the text. Without `parse_special` no such token comes out, as
        it must be for anything that a user or a model wrote. `add_special` adds a begin-of-text token where the model
        wants one.

        Raises:
            ContextOverflowError: it has far more than `context` tokens, as its beginning tells already. One with a few
                more is for the caller to refuse.
        """
        size = _LONG * (context or len(text))
        while context and 2 * size < len(text):
            least = len(self.tokenize(text[:size], parse_special=parse_special, is_data=is_data)) - _EDGE
            if least > context:
                raise self.overflow(f"at least {least}", context)
            size *= 4
        if parse_special and is_data is None:
            return self._tokenize(text, True, add_special)
        pieces = self.special_tokens.pieces(text, is_data or (lambda _place: True))
        if len(pieces) == 1:
            return self._tokenize(text, parse_special, add_special)
        tokens = [self.begin_token] if add_special and self.wants_begin else []
        tokens += self._tokenize(pieces[0], parse_special)
        for piece in pieces[1:]:
            tokens += self._tokenize_on(piece, parse_special)
        return tokens + (self._closing if add_special else [])

    def overflow(self, tokens: int | str, context: int) -> ContextOverflowError:
        """That a prompt of so many tokens is too long."""
        return ContextOverflowError(
            f"The prompt needs {tokens} tokens and the context of {self.path.name} holds {context}; shorten the text "
            "or give the model a larger context in the pool file."
        )

    def _tokenize(self, text: str, parse_special: bool, add_special: bool = False) -> list[int]:
        first, *others = self._own_cuts[parse_special].segments(text)
        if not others:
            return self._tokenize_segment(first, parse_special, add_special)
        tokens = [self.begin_token] if add_special and self.wants_begin else []
        for segment in (first, *others):
            tokens += self._tokenize_segment(segment, parse_special)
        return tokens + (self._closing if add_special else [])

    @cached_property
    def _closing(self) -> list[int]:
        """The special tokens that end a text."""
        return self._tokenize_segment("", False, True)[self.wants_begin :]

    def _tokenize_segment(self, text: str, parse_special: bool, add_special: bool = False) -> list[int]:
        data = text.encode("utf-8", "replace")
        size = len(data) + 8
        with self.open_vocabulary() as vocabulary:
            while True:
                tokens = (native.llama_token * size)()
                count = native.llama_tokenize(vocabulary, data, len(data), tokens, size, add_special, parse_special)
                if count >= 0:
                    return list(tokens[:count])
                size = -count

    def _tokenize_on(self, text: str, parse_special: bool) -> list[int]:
        """The tokens of a text that stands within another: without the space that some vocabularies begin one with."""
        if not self._begins_with_space:
            return self._tokenize(text, parse_special)
        line = self._tokenize("\n", parse_special)
        together = self._tokenize(f"\n{text}", parse_special)
        return together[len(line) :] if together[: len(line)] == line else self._tokenize(text, parse_special)

    def piece(self, token: int) -> bytes:
        """The bytes of one token; not always whole characters. Control tokens have none."""
        known = self._pieces.get(token)
        if known is None:
            size = 64
            with self.open_vocabulary() as vocabulary:
                while True:
                    buffer = ctypes.create_string_buffer(size)
                    count = native.llama_token_to_piece(vocabulary, token, buffer, size, 0, False)
                    if count >= 0:
                        break
                    size = -count
            known = self._pieces[token] = buffer.raw[:count]
        return known

    def token_text(self, token: int) -> str:
        """The token as the vocabulary spells it, for control tokens too, e.g. "<|im_end|>"."""
        with self.open_vocabulary() as vocabulary:
            text: bytes = native.llama_vocab_get_text(vocabulary, token)
            return text.decode("utf-8", "replace")

    def is_end(self, token: int) -> bool:
        """Whether the model ends its turn with this token."""
        known = self._ends.get(token)
        if known is None:
            with self.open_vocabulary() as vocabulary:
                known = self._ends[token] = bool(native.llama_vocab_is_eog(vocabulary, token))
        return known

    @cached_property
    def special_tokens(self) -> SpecialTokens:
        """The tokens that templates use, which nothing that a user or a model wrote may become."""
        return SpecialTokens(
            {
                token: text
                for token, (text, attributes) in self._spelled.items()
                if attributes & _CONTROL or len(text.replace("\u2581", " ").strip()) > 1
            }
        )

    @cached_property
    def _own_cuts(self) -> tuple[OwnCuts, OwnCuts]:
        """Without control tokens, and with them."""
        joined = {text for text, attributes in self._spelled.values() if attributes & native.LLAMA_TOKEN_ATTR_LSTRIP}
        defined = [text for text, attributes in self._spelled.values() if not attributes & _CONTROL]
        return OwnCuts(defined, joined), OwnCuts([text for text, _ in self._spelled.values()], joined)

    @cached_property
    def _spelled(self) -> dict[int, tuple[str, int]]:
        """Of the tokens that llama.cpp finds in a text by their spelling, that and their attributes."""
        with self.open_vocabulary() as vocabulary:
            attributes = [int(native.llama_vocab_get_attr(vocabulary, token)) for token in range(self.n_vocab)]
        found = _CONTROL | native.LLAMA_TOKEN_ATTR_USER_DEFINED
        return {token: (self.token_text(token), each) for token, each in enumerate(attributes) if each & found}

    def load_adapter(self, path: Path) -> None:
        """Load a LoRA adapter; llama.cpp wants this done before the context is made.

        Raises:
            ModelLoadError: missing, not GGUF, or made for another base model.
        """
        check_is_gguf(path)
        try_first(self.path, self._use, [path])
        with captured_log() as log:
            adapter = native.llama_adapter_lora_init(self.pointer, os.fsencode(path))
        if not adapter:
            raise ModelLoadError(
                f"The adapter {path} does not fit {self.path.name}: {reason(log)}. Use an adapter made for this base."
            )
        self._adapters[path] = adapter
        count = native.llama_adapter_get_alora_n_invocation_tokens(adapter)
        if count:
            self._invocations[path] = native.llama_adapter_get_alora_invocation_tokens(adapter)[:count]

    def adapter(self, path: Path) -> Any:
        """The loaded adapter's llama.cpp pointer."""
        return self._adapters[path]

    def bare_length(self, adapter: Adapter | None, tokens: Sequence[int]) -> int:
        """How many leading tokens of a prompt are read before the adapter is switched on: those before the last place
        where an activated one (Greenewald et al., arXiv 2504.12397) is invoked, and none with any other.

        Raises:
            InputError: the prompt does not invoke it, so that it would say nothing.
        """
        invocation = None if adapter is None else self._invocations.get(adapter.path)
        if adapter is None or invocation is None:
            return 0
        for start in range(len(tokens) - len(invocation), -1, -1):
            if list(tokens[start : start + len(invocation)]) == invocation:
                return start
        spelled = "".join(self.token_text(token) for token in invocation)
        raise InputError(
            f"The adapter {adapter.path} acts from {spelled!r} on, which this prompt has not; use the chat template "
            "that it was trained with."
        )

    def share(self) -> ModelFile:
        """The same weights for one owner more, who closes them, too.

        Raises:
            EngineClosedError: they have been freed.
        """
        with self.open_vocabulary(), self._changed:
            self._owners += 1
        return self

    def close(self) -> None:
        """An owner needs them no more. The last one frees the weights, and the adapters with them."""
        with self._changed:
            self._owners -= 1
            if self._owners < 1:
                self._changed.wait_for(lambda: not self._readers)
            if self.pointer and self._owners < 1:
                native.llama_model_free(self.pointer)
                self.pointer = None
