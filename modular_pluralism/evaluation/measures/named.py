"""The entailment measures by what a user writes."""

from __future__ import annotations

from collections.abc import Mapping

from langchain_core.language_models.chat_models import BaseChatModel

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.measures.entailment import PAPER_MODEL, EntailmentMeasure
from modular_pluralism.evaluation.measures.judge import named_model
from modular_pluralism.evaluation.measures.llm_entailment import LlmEntailment
from modular_pluralism.evaluation.measures.nli_entailment import NliEntailment
from modular_pluralism.models.calls import Caller
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.sentences import sentences


def open_measure(
    spec: str = PAPER_MODEL,
    *,
    pool: Pool | None = None,
    prompts: PromptSet | None = None,
    models: Mapping[str, BaseChatModel] | None = None,
    device: str | None = None,
) -> EntailmentMeasure:
    """The measure that `spec` names, ready to be used: whatever is missing is told here.

    `spec` is an id on the Hugging Face hub or a folder with a classifier (one called llm is written "./llm"); or "llm"
    for the pool's base LLM, "llm:MODEL" for another model of it. `models` puts chat models in the place of the pool's
    tables.

    Raises:
        ModelLoadError: the model, or a library that it needs, is not there; the message says how to get it.
        InputError: the spec is empty, or wants a model of a pool and there is none.
    """
    sentences("")  # every measure of an answer needs the sentence splitter, too
    kind, colon, name = spec.partition(":")
    if not spec.strip() or (kind == "llm" and colon and not name.strip()):
        raise InputError(f"{spec!r} names no entailment measure; write a model's id, a folder, llm, or llm:MODEL.")
    if kind == "llm":
        if pool is None:
            raise InputError("Entailment judged by an LLM needs a pool that has the model; give one with --pool.")
        caller = Caller(attempts=pool.run.attempts, deadline=pool.run.deadline)
        return LlmEntailment(named_model(pool, name or None, models), prompts or PromptSet.load(), caller)
    return NliEntailment(spec, device=device)
