"""Texts that keep to a JSON schema: at every token only what the grammar allows can be drawn (through llguidance)."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from modular_pluralism.errors import InputError, ModelLoadError
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.sampling import Row
from modular_pluralism.llama.schema_keywords import check_keywords

if TYPE_CHECKING:
    from llguidance import LLTokenizer

# Small models that may write any blanks write nothing else.
_BLANKS = r"(\x20|\x0A\x20{0,8})?"

_tokenizers: WeakKeyDictionary[ModelFile, LLTokenizer] = WeakKeyDictionary()
_lock = threading.Lock()


def grammar_of_schema(schema: Mapping[str, Any]) -> str:
    """The grammar, for `GenerationRequest.grammar`, of the JSON texts that the JSON schema describes.

    Raises:
        InputError: the schema holds something that no grammar can express, such as `not`, or no keyword at all.
        ModelLoadError: llguidance is not installed.
    """
    check_keywords(schema)
    try:
        text = json.dumps(schema, allow_nan=False)
        grammar: str = _matcher().grammar_from_json_schema(text, defaults={"whitespace_pattern": _BLANKS})
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"The JSON schema cannot be used: {_first_line(str(error))}.") from None
    if problem := _matcher().validate_grammar(grammar):
        raise InputError(f"The JSON schema cannot be used: {_first_line(problem)}.")
    return grammar


class Grammar:
    """Where one text stands in its grammar; belongs to one generation.

    Raises:
        InputError: the grammar cannot be read.
        ModelLoadError: llguidance is not installed.
    """

    def __init__(self, model: ModelFile, grammar: str) -> None:
        self._vocabulary = model.n_vocab
        self._matcher = _matcher()(grammar_tokenizer(model), grammar, log_level=0)
        if self._matcher.is_error():
            raise InputError(f"The grammar cannot be used: {_first_line(self._matcher.get_error())}.")

    def mask(self, logits: Row) -> Row:
        """A copy of the logits with minus infinity for every token that may not come next.

        Raises:
            InputError: the grammar is too large to follow, or no token of the model fits it.
        """
        allowed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        bits = np.unpackbits(allowed, count=self._vocabulary, bitorder="little").view(np.bool_)
        self._check_alive()
        if not bits.any():
            raise InputError("No token of the model fits the grammar here; use a simpler JSON schema.")
        return np.where(bits, logits, np.float32(-np.inf))

    def accept(self, token: int) -> None:
        """The token that was drawn. Raises as `mask` does."""
        self._matcher.consume_token(token)
        self._check_alive()

    @property
    def complete(self) -> bool:
        """Whether the text is whole and nothing can follow."""
        return bool(self._matcher.is_stopped())

    def _check_alive(self) -> None:
        if self._matcher.is_error():
            raise InputError(f"The grammar cannot be followed: {_first_line(self._matcher.get_error())}.")


def grammar_tokenizer(model: ModelFile) -> LLTokenizer:
    """The model's vocabulary as llguidance wants it; takes a third of a second the first time.

    Raises:
        ModelLoadError: llguidance is not installed.
    """
    _matcher()
    from llguidance.llamacpp import lltokenizer_from_vocab

    with _lock:
        if model not in _tokenizers:
            with model.open_vocabulary() as vocabulary:
                ends = sorted({model.turn_end_token, model.end_token} - {-1})
                with warnings.catch_warnings():  # its name for the attribute of a token has gone out of use
                    warnings.simplefilter("ignore", DeprecationWarning)
                    _tokenizers[model] = lltokenizer_from_vocab(vocabulary, eos_token=ends)
        return _tokenizers[model]


def _matcher() -> Any:
    try:
        from llguidance import LLMatcher
    except ImportError:
        raise ModelLoadError(
            "Replies in the form of a JSON schema need llguidance; run `pip install 'modular-pluralism[serve]'`."
        ) from None
    return LLMatcher


def _first_line(error: str) -> str:
    line = " ".join(error.split())
    return (line if len(line) <= 200 else f"{line[:197]}...").rstrip(" .")


JSON_OBJECT = json.dumps(
    {"grammars": [{"json_schema": {"type": "object", "x-guidance": {"whitespace_pattern": _BLANKS}}}]}
)
"""The grammar of any JSON object."""
