"""Reasoning is told from the text on tokens, and takes nothing of what the text may have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.errors import InputError
from modular_pluralism.llama.engine import Engine
from modular_pluralism.llama.generation import Finish, GenerationRequest, Piece
from modular_pluralism.llama.grammar import grammar_of_schema
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.reasoning import Reasoning, ReasoningStream
from modular_pluralism.llama.sampling import Sampling
from modular_pluralism.llama.settings import EngineSettings
from tests.marker_vocabulary import write_marker_vocabulary
from tests.training_models import HIDDEN, LAYERS, WIDE, write_tiny

FOLLOWS = {
    "\n": "<think>",
    "<think>": " because",
    " because": " of",
    " of": " rain",
    " rain": "</think>",
    "</think>": "\n\n",
    "\n\n": " Yes",
    " Yes": ",",
    ",": " indeed",
    " indeed": "<|im_end|>",
    " never": " never",
    " once": "<|im_end|>",
    "<seed:think>": " rain",
}
"""Which token the model writes after which: what it thinks ends in three words, but after " never"."""
QWEN, SEED = ("<think>", "</think>"), ("<seed:think>", "</seed:think>")
HARMONY = ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>")
SPELLED = ("<reflect>", "</reflect>")  # no vocabulary has tokens for it


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("reasoning")
    vocabulary = write_marker_vocabulary(folder / "markers.gguf")
    model = ModelFile(vocabulary, vocabulary_only=True)
    is_, follows = (np.zeros((model.n_vocab, HIDDEN), np.float32) for _ in range(2))
    for place, (before, after) in enumerate(FOLLOWS.items()):
        (is_at,), (follows_at,) = (model.tokenize(text, parse_special=True) for text in (before, after))
        is_[is_at, place], follows[follows_at, place] = 1, 3
    model.close()
    own = {"token_embd": is_, "output": follows}
    for layer in range(LAYERS):
        own[f"blk.{layer}.attn_output"] = np.zeros((HIDDEN, HIDDEN), np.float32)
        own[f"blk.{layer}.ffn_down"] = np.zeros((HIDDEN, WIDE), np.float32)
    path = write_tiny(folder / "chain.gguf", context=256, own=own, tokenizer=vocabulary)
    engine = Engine(EngineSettings(path, context=64, slots=1, audit=True))
    yield engine
    engine.close()


def tokens(engine: Engine, text: str) -> tuple[int, ...]:
    return tuple(engine.model.tokenize(text, parse_special=True))


def reasoning(engine: Engine, markers: tuple[str, str] = QWEN, most: int | None = None, *, begun: bool) -> Reasoning:
    begin, end = markers
    return Reasoning(() if begun else tokens(engine, begin), tokens(engine, end), tokens(engine, f"{end}\n\n"), most)


def said(engine: Engine, prompt: str, wanted: Reasoning | None, **how: Any) -> tuple[str, str, Finish]:
    """The reasoning, the text, and the end of a reply."""
    request = GenerationRequest(
        tokens(engine, prompt), **{"max_tokens": 8, **how}, sampling=Sampling(temperature=0), reasoning=wanted
    )
    *pieces, finish = engine.generate(request)
    assert isinstance(finish, Finish)
    for piece in pieces:
        assert isinstance(piece, Piece)
        assert not (piece.reasoning and piece.logprobs)
    return "".join(each.reasoning for each in pieces), "".join(each.text for each in pieces), finish  # type: ignore[union-attr]


@pytest.mark.parametrize(("prompt", "begun"), [("\n", False), ("\n<think>", True)])
def test_reasoning_is_no_part_of_the_text(engine: Engine, prompt: str, begun: bool) -> None:
    thought, text, finish = said(engine, prompt, reasoning(engine, begun=begun))
    assert (thought, text, finish.reason) == (" because of rain", "Yes, indeed", "stop")
    assert finish.reasoning_tokens == 5 - begun


def test_without_reasoning_a_reply_is_what_it_was(engine: Engine) -> None:
    plain = said(engine, "\n\n", None)
    assert plain == said(engine, "\n\n", reasoning(engine, begun=False))
    assert plain[:2] == ("", " Yes, indeed")


@pytest.mark.parametrize("markers", [QWEN, SEED, HARMONY, SPELLED], ids=lambda markers: markers[0])
@pytest.mark.parametrize("most", [1, 5])
def test_a_spent_budget_closes_the_reasoning_and_the_text_has_its_own(
    engine: Engine, markers: tuple[str, str], most: int
) -> None:
    wanted = reasoning(engine, markers, most, begun=True)
    thought, text, finish = said(engine, f"{markers[0]} never", wanted, max_tokens=3)
    assert thought == " never" * most
    assert (text, finish.reason) == ("Yes, indeed", "length")
    assert finish.reasoning_tokens == most + len(wanted.closing)
    assert finish.completion_tokens == finish.reasoning_tokens + 3


def test_without_a_budget_reasoning_leaves_the_text_its_room_in_the_context(engine: Engine) -> None:
    thought, text, finish = said(engine, "<think> never", reasoning(engine, begun=True), max_tokens=3)
    assert (set(thought.split()), text) == ({"never"}, "Yes, indeed")
    assert finish.prompt_tokens + finish.completion_tokens == 64


def test_a_model_that_ends_within_its_reasoning_still_answers(engine: Engine) -> None:
    thought, text, finish = said(engine, "<think> once", reasoning(engine, begun=True))
    assert (thought, text, finish.reason) == ("", "Yes, indeed", "stop")


def test_stop_strings_grammars_and_log_probabilities_are_the_texts(engine: Engine) -> None:
    wanted = reasoning(engine, begun=True)
    assert said(engine, "\n<think>", wanted, stop=("of",), top_logprobs=1)[:2] == (" because of rain", "Yes, indeed")
    thought, text, _ = said(
        engine, "\n<think>", wanted, grammar=grammar_of_schema({"enum": ["rain"]}), max_tokens=24, top_logprobs=1
    )
    assert (thought, text) == (" because of rain", '"rain"')


def test_a_model_that_begins_to_reason_by_itself_does_so_before_a_text_with_a_grammar(engine: Engine) -> None:
    rain = grammar_of_schema({"enum": ["rain"]})
    wanted = reasoning(engine, begun=False)
    thought, text, finish = said(engine, "\n", wanted, grammar=rain, max_tokens=24, top_logprobs=1)
    assert (thought, text, finish.reasoning_tokens) == (" because of rain", '"rain"', 5)
    assert said(engine, "\n\n", wanted, grammar=rain, max_tokens=24)[:2] == ("", '"rain"')
    longer = replace(wanted, begin=(*wanted.begin, *tokens(engine, "<seed:think>")))
    assert said(engine, "\n", longer, grammar=rain, max_tokens=24)[:2] == (" rain", '"rain"')


def test_a_budget_is_at_least_one_token(engine: Engine) -> None:
    with pytest.raises(InputError, match="at least 1"):
        replace(reasoning(engine, begun=True), most=0)


@given(data=st.data(), markers=st.sampled_from([QWEN, SEED, HARMONY, SPELLED]), begun=st.booleans())
def test_a_marker_is_known_by_its_tokens(engine: Engine, data: Any, markers: tuple[str, str], begun: bool) -> None:
    """What only spells it, as a model's text about it does, is none where the vocabulary has a token for it."""
    model, (begin, end) = engine.model, markers
    words = st.lists(st.sampled_from([" rain", "<", "é", "\n", " 日", "<think", "|>", end[:5]]), max_size=6)
    thought, text = "".join(data.draw(words)), "x" + "".join(data.draw(words))
    quoted = "" if markers is SPELLED else end
    written = [] if begun else model.tokenize(begin, parse_special=True)
    written += model.tokenize(thought + quoted, parse_special=False)
    written += [*model.tokenize(end, parse_special=True), *model.tokenize(f"\n {text}", parse_special=False)]
    stream = ReasoningStream(model, reasoning(engine, markers, begun=begun))
    parts = [*map(stream.feed, written), stream.finish()]
    assert b"".join(part for part, _ in parts).decode() == thought + quoted
    assert b"".join(part for _, part in parts).decode() == text
