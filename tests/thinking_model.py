"""Tiny models that think: which token they write depends on the last one alone, as a chain says."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.llama.chat_template import ChatTemplate, Turn
from modular_pluralism.llama.model_file import ModelFile
from tests.architectures import VOCABULARY, Architecture, write_silent_blocks
from tests.marker_vocabulary import write_marker_vocabulary
from tests.training_models import HIDDEN, LAYERS, WIDE, write_tiny
from tests.vendored import chat_template

CHAIN = {
    "istant": "<|channel|>",  # "assistant" is two tokens
    "<|channel|>": "analysis",
    "analysis": "<|message|>",
    "<|message|>": "B",
    "\n": "<think>",
    "<think>": " because",
    " because": " of",
    " of": " rain",
    " rain": "</think>",
    "</think>": " Yes",
    "\n\n": "A",
    "A": ",",
    "B": ",",
    " Yes": ",",
    ",": " indeed",
    " indeed": "<|im_end|>",
}
"""After a prompt that is to be answered at once comes a letter, after the end of a line three words of reasoning."""


def write_thinking_model(folder: Path) -> Path:
    """The model's file; its vocabulary has the markers of all vendored templates."""
    vocabulary = write_marker_vocabulary(folder / "markers.gguf")
    model = ModelFile(vocabulary, vocabulary_only=True)
    of = {text: _token(model, text) for text in {*CHAIN, *CHAIN.values()}}
    first = _token(model, "1")  # with which a community is selected: nearly as likely as a letter
    is_ = np.zeros((model.n_vocab, HIDDEN), np.float32)
    follows = np.zeros((model.n_vocab, HIDDEN), np.float32)
    for place, (before, after) in enumerate(CHAIN.items()):
        is_[of[before], place] = 1
        follows[of[after], place] = 3
        follows[first, place] = 2.9 * (after in ("A", "B"))
    model.close()
    own = {"token_embd": is_, "output": follows}
    for layer in range(LAYERS):
        own |= {f"blk.{layer}.attn_output": np.zeros((HIDDEN, HIDDEN), np.float32)}
        own |= {f"blk.{layer}.ffn_down": np.zeros((HIDDEN, WIDE), np.float32)}
    return write_tiny(folder / "thinking.gguf", name="thinking", context=4096, own=own, tokenizer=vocabulary)


def _token(model: ModelFile, text: str) -> int:
    (token,) = model.tokenize(text, parse_special=True)
    return token


SAID = "A, people"
THOUGHT = "because of water"
_ROUND = Turn("system", "You are asked."), Turn("user", "Should it rain?")


class Obedient(NamedTuple):
    """A tiny model of an architecture that thinks where the prompt of its template tells it to, and its template.

    `reasons`: whether the template knows reasoning at all.
    """

    gguf: Path
    template: str
    reasons: bool


def write_obedient(
    folder: Path, architecture: Architecture, *, thinking: bool, template: str | None = None
) -> Obedient:
    """After a prompt that is to be answered at once it says SAID; after one that asks for reasoning, or does not turn
    it off, the template's markers with THOUGHT between them first.

    Some templates say whether to think only at the start of a prompt, which then ends in the same token either way.
    This model sees the last one alone: such a one is made to do as it is told by `thinking`.
    """
    named = template or architecture.template
    assert named is not None
    source = chat_template(named)
    vocabulary = write_marker_vocabulary(folder / "markers.gguf", most=VOCABULARY)
    model = ModelFile(vocabulary, vocabulary_only=True)
    try:
        chain = _chain(model, source, thinking=thinking)
        embeddings = _embeddings(chain, model.n_vocab)
    finally:
        model.close()
    path = folder / f"{architecture.name}-{'thinks' if thinking else 'answers'}.gguf"
    write_silent_blocks(path, architecture, context=4096, tokenizer=vocabulary, embeddings=embeddings)
    return Obedient(path, source, bool(chain))


def _chain(model: ModelFile, source: str, *, thinking: bool) -> dict[int, int]:
    """Which token follows which; empty where the template knows no reasoning."""
    on, off = (ChatTemplate(model, template=source, thinking=thinks) for thinks in (True, False))
    try:
        reasoning = on.reasoning(_ROUND, most=None)
    except ModelLoadError:
        return {}

    def last(template: ChatTemplate, *, answered_at_once: bool = False) -> int:
        return template.tokens(_ROUND, answered_at_once=answered_at_once)[-1]

    def tokens(text: str) -> list[int]:
        return model.tokenize(text, parse_special=True)

    end = reasoning.end if len(reasoning.end) == 1 else (model.end_token,)  # the engine closes it then
    thinks = [last(on), *reasoning.begin, *tokens(f" {THOUGHT}"), end[0]]
    says = [tokens("A")[0], *tokens(", people"), model.end_token]
    answered = {last(off), last(off, answered_at_once=True), last(on, answered_at_once=True), reasoning.closing[-1]}
    answers = [[at, *says] for at in sorted({*answered, reasoning.end[-1]})]
    chain: dict[int, int] = {}
    for followed in [*answers, thinks]:
        for before, after in pairwise(followed):
            chain.setdefault(before, after)
    return chain | {thinks[0]: thinks[1]} if thinking else chain


def _embeddings(chain: Mapping[int, int], vocabulary: int) -> NDArray[np.float32]:
    """Such that each token of a chain is followed by the right one, though the output's are the same ones.

    What a token gives another is then the same both ways, so it grows along the chain.
    """
    nodes = sorted({*chain, *chain.values()})

    def before(token: int) -> int:
        return max((1 + before(each) for each, after in chain.items() if after == token), default=0)

    given = np.zeros((len(nodes), len(nodes)))
    for token, after in chain.items():
        pair = [nodes.index(token), nodes.index(after)]
        given[pair, pair[::-1]] = 8 * 1.5 ** before(token)
    values, vectors = np.linalg.eigh(given)
    made = np.zeros((vocabulary, HIDDEN // 2), np.float32)
    for sign in (1, -1):
        wanted = np.flatnonzero(sign * values > 1e-9)
        places = np.arange(0 if sign > 0 else 1, HIDDEN // 2, 2)[: len(wanted)]
        assert len(places) == len(wanted), "a chain of more tokens than there is room for"
        made[np.ix_(np.array(nodes, np.intp), places)] = vectors[:, wanted] * np.sqrt(np.abs(values[wanted]))
    return np.concatenate([made, -made], axis=1)
