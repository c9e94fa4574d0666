"""From a group's votes to shares, and to what sets it apart from the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from modular_pluralism.optional import optional
from modular_pluralism.polis.export import OPTIONS, Counts, Votes

Shares = npt.NDArray[np.float64]

_STRENGTHS = np.geomspace(0.5, 200.0, 60)
"""Votes that what is known beforehand may count for."""
FALSE_DISCOVERIES = 0.05
"""Share of the statements called distinctive that may be so by chance (Benjamini and Hochberg, 1995)."""


class Smoothed(NamedTuple):
    """Shares [n_statements, 3] that sum to 1; `strength` is how many votes the expectation counted for."""

    shares: Shares
    strength: float


def smoothed(counts: Counts, expected: Shares) -> Smoothed:
    """The shares of a group, drawn to what is expected where it has few votes.

    (counts + strength · expected) / (votes + strength): the mean of a Dirichlet prior's posterior. `strength` is the
    one under which the counts of all statements are likeliest (empirical Bayes), so that a group that votes as expected
    is drawn far, and one that does not, little.

    Args:
        counts: Votes, [n_statements, 3].
        expected: Shares above 0, [n_statements, 3].
    """
    gammaln = optional("scipy.special", "records", "Smoothing shares").gammaln
    voters = counts.sum(axis=1)
    likelihoods = []
    for strength in _STRENGTHS:
        weights = strength * expected
        likelihoods.append(
            (gammaln(strength) - gammaln(voters + strength)).sum()
            + (gammaln(counts + weights) - gammaln(weights)).sum()
        )
    best = float(_STRENGTHS[int(np.argmax(likelihoods))])
    return Smoothed((counts + best * expected) / (voters + best)[:, None], best)


def everyones_shares(everyone: Votes) -> Smoothed:
    """The shares of all participants: each statement's drawn to the mean of all statements."""
    totals = everyone.counts.sum(axis=0) + 1
    return smoothed(everyone.counts, np.broadcast_to(totals / totals.sum(), everyone.counts.shape))


class Trait(NamedTuple):
    """That a group agrees, or disagrees, with a statement more than the others do.

    `share` of its votes do so, and `others` of theirs; `p` is corrected for the number of comparisons.
    """

    statement: int
    option: Literal["Agree", "Disagree"]
    share: float
    others: float
    p: float


def traits(groups: Mapping[str, Votes]) -> dict[str, list[Trait]]:
    """By group, what it says more than all other groups together, the largest difference of shares first.

    Fisher's exact test, one-sided, for each statement on which both have voted, and for agreeing and disagreeing;
    Benjamini and Hochberg's correction over all of them. The groups were made of these very votes: this says what sets
    them apart, and not that there are groups.
    """
    stats = optional("scipy.stats", "records", "Comparing groups")
    found = [trait for name in groups for trait in _differences(groups, name, stats)]
    if not found:
        return {name: [] for name in groups}
    corrected = stats.false_discovery_control([trait.p for _, trait in found])
    kept: dict[str, list[Trait]] = {name: [] for name in groups}
    for (name, trait), p in zip(found, corrected, strict=True):
        if p <= FALSE_DISCOVERIES:
            kept[name].append(trait._replace(p=float(p)))
    return {name: sorted(each, key=lambda trait: trait.others - trait.share) for name, each in kept.items()}


def _differences(groups: Mapping[str, Votes], name: str, stats: Any) -> Sequence[tuple[str, Trait]]:
    own = groups[name].counts
    rest = sum((votes.counts for other, votes in groups.items() if other != name), np.zeros_like(own))
    voters, others = own.sum(axis=1), rest.sum(axis=1)
    told = []
    for option in ("Agree", "Disagree"):
        place = OPTIONS.index(option)
        said, others_said = own[:, place], rest[:, place]
        tail = stats.hypergeom.sf(said - 1, voters + others, said + others_said, voters)
        for at in np.flatnonzero((voters > 0) & (others > 0)):
            share, of_others = said[at] / voters[at], others_said[at] / others[at]
            told.append((name, Trait(int(at), option, float(share), float(of_others), float(tail[at]))))
    return told
