"""What a verifier looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from modular_pluralism.types import Verdict


@dataclass(frozen=True)
class Candidate:
    """A candidate answer called `name`, with what it answers and what it was made of.

    `comments` are the texts of the communities that have commented, in the order in which the base LLM was given them
    (numbered from 1), and `weights` each community's share, as `Pool.priors_of` gives it.
    """

    name: str
    text: str
    question: str = ""
    comments: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)


class Finding(NamedTuple):
    """What a verifier says of a candidate: "silent" where it cannot decide, and in a few words why, as in "128 words;
    at most 120"."""

    verdict: Verdict
    reason: str


def finding(kept: bool, reason: str) -> Finding:
    """What is found where it can be decided."""
    return Finding("kept" if kept else "broken", reason)
