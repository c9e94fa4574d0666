"""Two runs side by side, with what differs between them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from modular_pluralism.debugger.history import Change, KeptRun
from modular_pluralism.evaluation.measures.distances import js_distance
from modular_pluralism.modes import find_mode, shown_answer
from modular_pluralism.runs.setup import Setup

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True)
class DiffSpan:
    """A stretch of text that is in both, only in the one ("removed"), or only in the other ("added")."""

    kind: Literal["same", "removed", "added"]
    text: str


@dataclass(frozen=True)
class TextComparison:
    """A text of both; None where a run has none. `spans` are the one's text turned into the other's, word by word."""

    name: str
    one: str | None
    other: str | None
    spans: list[DiffSpan]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return self.one == self.other


@dataclass(frozen=True)
class DistributionComparison:
    """A distribution of both over the options, which are `options` where both were asked with the same, else empty.

    `distance` is the JS distance (base e: 0 where equal, 0.833 at most), or None where it cannot be told.
    """

    name: str
    options: list[str]
    one: list[float] | None
    other: list[float] | None
    distance: float | None


@dataclass(frozen=True)
class Comparison:
    """`settings` are those that differ. `comments` and `distributions` are by community, those of both runs; a text
    that failed stands there as its error. `pooled` is the runs' result, where one of them has a distribution."""

    settings: list[Change]
    comments: list[TextComparison]
    answer: TextComparison
    distributions: list[DistributionComparison]
    pooled: DistributionComparison | None


def compare_runs(one: KeptRun, other: KeptRun) -> Comparison:
    """Compare two runs, be they forks of each other or not."""
    a, b = one.state, other.state
    options = list(a["options"]) if a.get("options") and a.get("options") == b.get("options") else []
    pooled = None
    if a.get("distribution") is not None or b.get("distribution") is not None:
        pooled = _distribution("the result", options, _shares(a.get("distribution")), _shares(b.get("distribution")))
    return Comparison(
        settings=list(_settings(one.setup, other.setup)),
        comments=[compare_texts(name, _said(a, name), _said(b, name)) for name in _names(a, b, "comments")],
        answer=compare_texts("the answer", shown_answer(a) or None, shown_answer(b) or None),
        distributions=[
            _distribution(name, options, *(_shares((state.get("distributions") or {}).get(name)) for state in (a, b)))
            for name in _names(a, b, "distributions")
        ],
        pooled=pooled,
    )


def compare_texts(name: str, one: str | None, other: str | None) -> TextComparison:
    """Compare two texts word by word."""
    return TextComparison(name, one, other, list(_spans(one or "", other or "")))


def _spans(one: str, other: str) -> Iterator[DiffSpan]:
    old: list[str] = _WORDS.findall(one)
    new: list[str] = _WORDS.findall(other)
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            yield DiffSpan("same", "".join(old[a:b]))
            continue
        if b > a:
            yield DiffSpan("removed", "".join(old[a:b]))
        if d > c:
            yield DiffSpan("added", "".join(new[c:d]))


def _settings(one: Setup, other: Setup) -> Iterator[Change]:
    a, b = _told(one), _told(other)
    for name in {**a, **b}:
        if a.get(name) != b.get(name):
            yield Change(name, a.get(name), b.get(name))


def _told(setup: Setup) -> dict[str, Any]:
    """The settings in a user's words, one by one."""
    edits = setup.edits
    return {
        "mode": setup.mode,
        **setup.asked,
        **find_mode(setup.mode).settings(setup.scoring, setup.voice),
        "pool": setup.pool,
        "prompts": setup.prompts,
        "pool file (fingerprint)": setup.pool_fingerprint[:12],
        "prompt files (fingerprint)": setup.prompts_fingerprint[:12],
        "communities": list(setup.communities),
        **{f"edited comment of {name}": text for name, text in edits.comments.items()},
        **{f"edited prompt {name}": text for name, text in edits.prompts.items()},
        **{f"edited persona of {name}": text for name, text in edits.personas.items()},
        **{f"edited prior of {name}": prior for name, prior in edits.priors.items()},
        **{f"added community {name}": new.model_dump() for name, new in edits.added.items()},
    }


def _names(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> list[str]:
    return list({**(one.get(key) or {}), **(other.get(key) or {})})


def _said(state: Mapping[str, Any], name: str) -> str | None:
    comment = (state.get("comments") or {}).get(name)
    if comment is None:
        return None
    return str(comment["text"] if comment["error"] is None else f"(failed: {comment['error']})")


def _shares(distribution: Any) -> list[float] | None:
    """Of the state, where it is a list or has one inside."""
    if isinstance(distribution, Mapping):
        distribution = distribution["probabilities"]
    return None if distribution is None else list(distribution)


def _distribution(
    name: str, options: list[str], one: list[float] | None, other: list[float] | None
) -> DistributionComparison:
    distance = js_distance(one, other) if options and one is not None and other is not None else None
    return DistributionComparison(name, options, one, other, distance)
