"""One distributional item: the option distributions of six comments, read as the graph reads them.

Against one request a prompt to `llama-server`, and one forward pass a prompt in transformers. All sides have to agree.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from benchmarks import peers
from benchmarks.comments import check_prompts, opened, said
from benchmarks.errors import BenchmarkError
from benchmarks.http_client import request
from benchmarks.llama_server import completion, llama_server
from benchmarks.pairing import take_turns
from benchmarks.result import Result, compare
from benchmarks.row import Row, Settings
from benchmarks.worker import worker
from modular_pluralism import Pool
from modular_pluralism.graphs.parts import Parts
from modular_pluralism.llama import ChatLlama
from modular_pluralism.nodes.render import one_line, option_lines
from modular_pluralism.nodes.score import score
from modular_pluralism.nodes.step import StepNode
from modular_pluralism.option_math import letters, mean_over_rotations, normalise, rotations
from modular_pluralism.types import Comment, Scoring

QUESTION = "How much should the state do to lower the difference between high and low incomes?"
OPTIONS = ("A great deal", "Something", "Very little", "Nothing at all")
COMMENTS = (
    "Large differences are a choice that governments make. Wages at the bottom have stood still for a generation "
    "while profits grew, and taxes on wealth would pay for schools and hospitals that everybody needs.",
    "The evidence is mixed. Some redistribution keeps a society stable, and too much of it weakens the will to "
    "invest, so each measure should be tried on a small scale and judged by what it does.",
    "People who work hard and take risks should keep what they earn. When the state takes it away it punishes effort, "
    "and the money seldom reaches those for whom it was meant.",
    "Nobody earns a billion by working. Break up the monopolies, tax the fortunes and let workers own a share of what "
    "they make; everything else is charity from those who took it.",
    "I would help those who cannot help themselves and leave the rest alone. A floor under everybody is fair; a "
    "ceiling over those who do well is not, and most families stand somewhere between the two.",
    "Let people trade freely and incomes will find their place. Every new programme needs another office and another "
    "tax, and in the end the middle pays for both the rich and the poor.",
)
LARGEST_TOLERATED, MEAN_TOLERATED = 0.15, 0.03
"""How far a probability may lie from the engine's: llama.cpp computes in eight bits, so whatever changes the order of
its additions changes a logit by some tenths. transformers computes in 32 bits, and lies as far from either."""
_LIKELIEST = 50
"""Tokens whose probability is asked of llama-server; a label that is not among them counts as impossible."""
_SLOTS = 6


@dataclass(frozen=True)
class Item:
    """What is to be read in one round: prompts [communities x orders], and the tokens that spell each label."""

    comments: dict[str, Comment]
    scoring: Scoring
    prompts: list[list[int]]
    labels: list[list[int]]

    def distributions(self, probabilities: Sequence[Sequence[float]]) -> list[list[float]]:
        """One distribution a community, from the probability of every label token after every prompt."""
        each = len(self.prompts) // len(self.comments)
        rows = [normalise(self._by_label(row)) for row in probabilities]
        of_communities = [rows[start : start + each] for start in range(0, len(rows), each)]
        return [mean_over_rotations(own) if self.scoring == "rotate" else own[0] for own in of_communities]

    def _by_label(self, row: Sequence[float]) -> list[float]:
        values = iter(row)
        return [math.fsum(next(values) for _ in spellings) for spellings in self.labels]

    @property
    def label_tokens(self) -> list[int]:
        """The tokens of all labels, in order."""
        return [token for spellings in self.labels for token in spellings]


class Ours:
    """The engine's side: the nodes in which the distributional graph scores its comments, all at once."""

    def __init__(self, chat: ChatLlama) -> None:
        pool = Pool.load("perspective")
        self._chat = chat
        self._parts = Parts(pool, None, {pool.base: chat})

    def item(self, number: int, scoring: Scoring) -> Item:
        """The item for round `number`: its comments begin with numbers of their own, so that they are new to all."""
        comments = {
            name: said(name, f"{scoring.title()} {number}.{index}. {text}")
            for index, (name, text) in enumerate(zip(self._parts.communities, COMMENTS, strict=True))
        }
        orders = rotations(len(OPTIONS)) if scoring == "rotate" else [list(range(len(OPTIONS)))]
        prompts = [
            self._chat.prompt_tokens(
                self._parts.prompts["score"].render(
                    question=QUESTION,
                    comment=one_line(comment["text"]),
                    options=option_lines(self._parts.prompts, [OPTIONS[at] for at in order]),
                )
            )
            for comment in comments.values()
            for order in orders
        ]
        return Item(comments, scoring, prompts, [self._spellings(label) for label in letters(len(OPTIONS))])

    def _spellings(self, label: str) -> list[int]:
        """As `EngineOptionReader` spells a label."""
        rows = (self._chat.engine.model.tokenize(text, parse_special=False) for text in (label, f" {label}"))
        return list(dict.fromkeys(row[0] for row in rows if len(row) == 1))

    def read(self, item: Item) -> tuple[float, list[list[float]]]:
        """Seconds, and a distribution for each community."""
        parts, scoring = self._parts, item.scoring
        nodes = {
            name: StepNode(score(name, parts.models, parts.prompts, scoring=scoring, samples=1), parts.caller, "score")
            for name in item.comments
        }
        state = {"question": QUESTION, "options": list(OPTIONS), "comments": item.comments, "seed": 0}

        async def everything() -> tuple[float, list[dict[str, Any]]]:
            started = time.perf_counter()
            updates = await asyncio.gather(*(node.ainvoke(state) for node in nodes.values()))
            return time.perf_counter() - started, updates

        seconds, updates = asyncio.run(everything())
        try:
            found = [
                update["distributions"][name]["probabilities"] for name, update in zip(nodes, updates, strict=True)
            ]
        except KeyError:
            raise BenchmarkError(f"The engine could not read the options: {updates}") from None
        return seconds, found


class Agreement:
    """How far the probabilities that a peer read lie from the engine's, over all rounds of one scoring."""

    def __init__(self) -> None:
        self._ours: dict[int, list[list[float]]] = {}
        self._theirs: list[tuple[int, list[list[float]]]] = []

    def ours(self, number: int, distributions: list[list[float]]) -> None:
        """What the engine read in a round."""
        self._ours[number] = distributions

    def theirs(self, number: int, distributions: list[list[float]]) -> None:
        """What the peer read in a round."""
        self._theirs.append((number, distributions))

    @property
    def differences(self) -> list[float]:
        """Absolute differences of the probabilities."""
        return [
            abs(one - other)
            for number, distributions in self._theirs
            for ours, theirs in zip(self._ours[number], distributions, strict=True)
            for one, other in zip(ours, theirs, strict=True)
        ]

    @property
    def holds(self) -> bool:
        """Whether the sides read the same."""
        differences = self.differences
        return max(differences) <= LARGEST_TOLERATED and statistics.fmean(differences) <= MEAN_TOLERATED

    def note(self) -> str:
        """The differences in words."""
        differences = self.differences
        return (
            f"{'the sides agree' if self.holds else 'THE SIDES DISAGREE'}: probabilities differ by "
            f"{max(differences):.3f} at most (tolerated: {LARGEST_TOLERATED:g}) and by "
            f"{statistics.fmean(differences):.4f} on average (tolerated: {MEAN_TOLERATED:g})"
        )


def measure_llama_server(settings: Settings) -> Iterator[Result]:
    """Seconds for one item. Of one request after the other and all at once, the faster way counts."""
    with contextlib.ExitStack() as stack:
        chat = stack.enter_context(opened(settings))
        # A server for each way, since in one they would find each other's prompts in the cache.
        in_a_row, at_once, forgetful = (
            stack.enter_context(llama_server(settings, slots)) for slots in (1, _SLOTS, _SLOTS)
        )
        ways = {
            "in a row": _Way(in_a_row, at_once=False, cached=True),
            "at once": _Way(at_once, at_once=True, cached=True),
            "in a row, without its cache of prompts": _Way(forgetful, at_once=False, cached=False),
            "at once, without its cache of prompts": _Way(forgetful, at_once=True, cached=False),
        }
        side = Ours(chat)

        def by_server(way: _Way, agreement: Agreement, scoring: Scoring, number: int) -> float:
            item = side.item(number, scoring)
            seconds, probabilities = asyncio.run(_by_llama_server(way, item))
            agreement.theirs(number, item.distributions(probabilities))
            return seconds

        for scoring, reach in _reaches(1.0, 2.0):
            agreement = Agreement()
            measured = take_turns(
                {
                    "engine": partial(by_engine, side, agreement, scoring),
                    **{name: partial(by_server, way, agreement, scoring) for name, way in ways.items()},
                },
                settings.rounds,
                settings.say,
            )
            medians = {name: statistics.median(values) for name, values in measured.items()}
            for cached in (True, False):
                best = min((name for name, way in ways.items() if way.cached == cached), key=medians.__getitem__)
                yield _result(
                    READ_LLAMA_SERVER.name,
                    settings,
                    agreement,
                    scoring,
                    f"`llama-server`, one request a prompt, {best}",
                    measured,
                    best,
                    reach if cached else None,
                )


class _Way(NamedTuple):
    """How llama-server is asked: where, all prompts at once or not, and with its cache of prompts or without."""

    port: int
    at_once: bool
    cached: bool


async def _by_llama_server(way: _Way, item: Item) -> tuple[float, list[list[float]]]:
    """Seconds, and the probability of every label token after every prompt."""
    bodies = [
        completion(tokens, n_predict=1, n_probs=_LIKELIEST, temperature=0, cache_prompt=way.cached)
        for tokens in item.prompts
    ]
    started = time.perf_counter()
    if way.at_once:
        replies = await asyncio.gather(*(request(way.port, "/completion", body) for body in bodies))
    else:
        replies = [await request(way.port, "/completion", body) for body in bodies]
    seconds = time.perf_counter() - started
    check_prompts("llama-server", [reply["tokens_evaluated"] for reply in replies], item.prompts)
    likeliest = [
        {each["id"]: math.exp(each["logprob"]) for each in reply["completion_probabilities"][0]["top_logprobs"]}
        for reply in replies
    ]
    return seconds, [[found.get(token, 0.0) for token in item.label_tokens] for found in likeliest]


def measure_transformers(settings: Settings) -> Iterator[Result]:
    """Seconds for one item, one forward pass a prompt."""
    with opened(settings) as chat, worker(settings.peers.python, "transformers_model") as peer:
        side = Ours(chat)
        peer.ask(do="open", file=str(settings.file.path), threads=settings.threads)

        def by_transformers(agreement: Agreement, scoring: Scoring, number: int) -> float:
            item = side.item(number, scoring)
            reply = peer.ask(do="read", prompts=item.prompts, wanted=item.label_tokens)
            agreement.theirs(number, item.distributions(reply["probabilities"]))
            return float(reply["seconds"])

        for scoring, reach in _reaches(3.0, 8.0):
            agreement = Agreement()
            measured = take_turns(
                {
                    "engine": partial(by_engine, side, agreement, scoring),
                    "transformers": partial(by_transformers, agreement, scoring),
                },
                settings.rounds,
                settings.say,
            )
            against = "transformers, one forward pass a prompt"
            yield _result(
                READ_TRANSFORMERS.name, settings, agreement, scoring, against, measured, "transformers", reach
            )


def by_engine(side: Ours, agreement: Agreement, scoring: Scoring, number: int) -> float:
    """Seconds."""
    seconds, distributions = side.read(side.item(number, scoring))
    agreement.ours(number, distributions)
    return seconds


def _reaches(label: float, rotate: float) -> list[tuple[Scoring, float]]:
    return [("label", label), ("rotate", rotate)]


def _result(
    row: str,
    settings: Settings,
    agreement: Agreement,
    scoring: Scoring,
    against: str,
    measured: dict[str, list[float]],
    peer: str,
    reach: float | None,
) -> Result:
    return compare(
        row,
        f"one item read by `{scoring}`, six comments, four options, {settings.file}",
        against,
        measured["engine"],
        measured[peer],
        "s",
        "peer / ours",
        reach=reach,
        note=f"by `{scoring}`, {agreement.note()}",
        agreed=agreement.holds,
    )


READ_LLAMA_SERVER = Row(
    "read-llama-server",
    "the option distributions of six comments, against one request a prompt to llama-server",
    "same file and prompt tokens, flash attention on both sides; llama-server reads with `n_predict` 1 and `n_probs`, "
    "and reuses the beginnings of prompts that it has read, as it does by default and as the engine does, or is shown "
    "without that; it is asked one prompt after the other and all at once, and the faster way counts; the engine's "
    "time includes the graph's scoring node",
    measure_llama_server,
    peers.LLAMA_SERVER,
)
READ_TRANSFORMERS = Row(
    "read-transformers",
    "the option distributions of six comments, against one forward pass a prompt in transformers",
    "same file, which transformers turns into 32-bit floats, and same prompt tokens; logits of the last token only; "
    "the engine's time includes the graph's scoring node",
    measure_transformers,
    peers.TRANSFORMERS,
)
