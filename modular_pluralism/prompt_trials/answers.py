"""Answers with several sets of prompts to the same questions, side by side: no right answer is known.

What has been answered is kept in a journal, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel

from modular_pluralism.errors import ConfigurationError, PluralismError
from modular_pluralism.evaluation.run.bench import each_item
from modular_pluralism.evaluation.run.counted_cache import CountedCache
from modular_pluralism.evaluation.run.facts import digest, given_models, model_files, pool_facts
from modular_pluralism.evaluation.run.journal import Journal
from modular_pluralism.graphs.node_cache import NodeCache
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.modes import find_mode
from modular_pluralism.nodes.request import Request
from modular_pluralism.nodes.step import QuestionParts
from modular_pluralism.pool import Pool
from modular_pluralism.prompt_trials.questions import read_questions
from modular_pluralism.prompt_trials.result_models import Answer, CallCounts
from modular_pluralism.prompt_trials.uses import prompts_on
from modular_pluralism.prompt_trials.variants import BUILT_IN, changed_texts, open_variants
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Mode, Scoring, Voices


@dataclass(frozen=True, kw_only=True)
class AnswerSettings:
    """How questions are answered. `pool` is a pool, a built-in one's name, or its file; `models` puts chat models in
    the place of its tables. `prompts` is the folder that variants are compared with, None for the built-in prompts;
    `attribute` and `options` are those of questions that have none of their own. `limit` takes the first questions
    only, `concurrency` of them at once. `comment_tokens` and `answer_tokens` replace the pool's."""

    mode: Mode = "overton"
    pool: Pool | str = "perspective"
    models: Mapping[str, BaseChatModel] | None = None
    prompts: Path | None = None
    attribute: str | None = None
    options: Sequence[str] = ()
    scoring: Scoring = "rotate"
    voice: Voices = "comment"
    seed: int = 0
    limit: int | None = None
    concurrency: int = 8
    comment_tokens: int | None = None
    answer_tokens: int | None = None


class Answering:
    """Questions and sets of prompts that are ready to answer them: everything has been checked, and no weights have
    been loaded. `names` are those of the sets, the one that the others are compared with first.

    Raises:
        PluralismError: the questions, the pool, a folder of prompts or a setting is unusable.
    """

    def __init__(self, questions: Path, folders: Sequence[Path], settings: AnswerSettings) -> None:
        self.settings = settings
        asked = {"scoring": settings.scoring, "voice": settings.voice, "seed": settings.seed}
        self._all = read_questions(
            questions, settings.mode, attribute=settings.attribute, options=settings.options, **asked
        )
        self.requests = self._all[: settings.limit]
        pool = settings.pool if isinstance(settings.pool, Pool) else Pool.load(settings.pool)
        lengths = {"comment_tokens": settings.comment_tokens, "answer_tokens": settings.answer_tokens}
        self.pool = pool.with_run(**{name: value for name, value in lengths.items() if value is not None})
        base = PromptSet.load(settings.prompts)
        base_name = BUILT_IN if settings.prompts is None else settings.prompts.resolve().name
        used = self._used()
        variants = open_variants(
            folders,
            base,
            lambda prompts: changed_texts(base, prompts, used, self.pool, tuple(self.pool.communities)),
            otherwise=f"The mode {settings.mode} uses {', '.join(sorted(used))}; change one of these, or take another "
            "--mode.",
            base_name=base_name,
        )
        self.changed = {each.name: each.changed for each in variants}
        self._sets = {base_name: base, **{each.name: each.prompts for each in variants}}
        self.names = list(self._sets)
        self._models = PoolModels(self.pool, settings.models)

    @property
    def total(self) -> int:
        """Answers that there will be when all is done."""
        return len(self.requests) * len(self.names)

    @property
    def digest(self) -> str:
        """A short text that is the same for the same comparison."""
        return digest(self._facts())

    def journal(self, path: Path) -> Journal:
        """The journal that keeps these answers. Errors are those of Journal."""
        return Journal(path, self._facts())

    def known(self, journal: Journal) -> int:
        """How many answers are there from before."""
        return sum(journal.count(name, len(self.requests)) for name in self.names)

    async def run(self, journal: Journal, on_result: Callable[[Any, dict[str, Any]], None]) -> dict[str, CallCounts]:
        """Answer what is not in the journal. Returns the model calls of each set of prompts, this time.

        Raises:
            PluralismError: nothing can be answered.
        """
        if self.known(journal) == self.total:
            return {}
        self._models.check()
        kept = NodeCache(most=(8 * len(self.pool.communities) + 16) * len(self.requests))
        caches = {name: CountedCache(kept) for name in self.names}
        mode, settings = find_mode(self.settings.mode), self.settings
        graphs = {
            name: mode.graph(
                self.pool, scoring=settings.scoring, voice=settings.voice, prompts=prompts, models=self._models
            ).compile(cache=caches[name])
            for name, prompts in self._sets.items()
        }

        async def answer(place: int, request: Request) -> None:
            for name, graph in graphs.items():
                if journal.get(name, place) is None:
                    result = await _answered(graph, request)
                    journal.put(name, place, result)
                    on_result(name, result)

        await each_item(self.requests, answer, concurrency=settings.concurrency)
        return {name: CallCounts(made=cache.computed, reused=cache.reused) for name, cache in caches.items()}

    def answers(self, journal: Journal) -> list[Answer]:
        """All answers that are there, by question and then by set."""
        return [
            Answer(
                item=place,
                prompts=name,
                question=request.question,
                attribute=request.attribute,
                options=request.options or [],
                **kept,
            )
            for place, request in enumerate(self.requests)
            for name in self.names
            if (kept := journal.get(name, place)) is not None
        ]

    def facts(self) -> dict[str, Any]:
        """What was run, and how."""
        settings = self.settings
        return {
            "mode": settings.mode,
            "pool": self.pool.name,
            "communities": ", ".join(self.pool.communities),
            "base LLM": self.pool.base,
            "comment tokens": self.pool.run.comment_tokens,
            "answer tokens": self.pool.run.answer_tokens,
            "seed": settings.seed,
            **{f"{name} changes": ", ".join(changed) for name, changed in self.changed.items()},
        }

    def _used(self) -> frozenset[str]:
        parts = [QuestionParts(bool(each.options), each.attribute is not None) for each in self.requests]
        settings = self.settings
        return prompts_on(settings.mode, parts, self.pool, scoring=settings.scoring, voice=settings.voice)

    def _facts(self) -> dict[str, Any]:
        """All that an answer depends on, beside its question's place and the set's name."""
        settings = self.settings
        return {
            "questions": digest([each.model_dump(mode="json") for each in self._all]),
            "mode": settings.mode,
            "pool": pool_facts(self.pool, next(iter(self._sets.values()))),
            "prompts": {name: digest(_texts(prompts)) for name, prompts in self._sets.items()},
            "scoring": settings.scoring,
            "voice": settings.voice,
            "seed": settings.seed,
            "files": model_files(self.pool, self._models),
            **({} if not self._models.given else {"models": digest(given_models(self._models.given))}),
            "modular-pluralism": version("modular-pluralism"),
        }


async def _answered(graph: Any, request: Request) -> dict[str, Any]:
    """What a run makes of a question, as plain values; a run that fails leaves its error."""
    started, state, error = time.perf_counter(), dict[str, Any](), None
    try:
        # The last state is the result; that before a failure tells what had been said.
        async for state in graph.astream(request.asked(), stream_mode="values"):  # noqa: B007
            pass
    except ConfigurationError:
        raise
    except PluralismError as failed:
        error = str(failed)
    read = state.get("distribution")
    selected, comments = state.get("selected"), sorted((state.get("comments") or {}).items())
    return {
        "answer": state.get("answer"),
        "choice": state.get("choice"),
        "distribution": read["probabilities"] if isinstance(read, Mapping) else read,
        "selected": selected["community"] if selected else None,
        "comments": {name: said["text"] for name, said in comments},
        "cut_off": (state.get("usage") or {}).get("finish_reason") == "length",
        "cut_comments": [name for name, said in comments if said["finish_reason"] == "length"],
        "missing": list(state.get("missing") or []),
        "error": error,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _texts(prompts: PromptSet) -> dict[str, str]:
    texts = {name: prompts[name].text for name in prompts}
    return texts | {name: prompts.persona(name) for name in prompts.personas}
