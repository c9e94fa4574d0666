"""Arithmetic on option distributions: rotating options, pooling distributions, and measuring how far they are apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from string import ascii_uppercase

from modular_pluralism.types import Pooling, Scoring

MOST_OPTIONS = len(ascii_uppercase)
"""Options are lettered A to Z."""
_LOW_MASS = 0.5


def letters(count: int) -> str:
    """The labels of `count` options: "ABC…"."""
    return ascii_uppercase[:count]


def rotations(count: int) -> list[list[int]]:
    """All rotations of `count` places: entry [r][i] is the option that stands at place i of rotation r."""
    return [[(place + shift) % count for place in range(count)] for shift in range(count)]


def normalise(values: Sequence[float]) -> list[float]:
    """The values divided by their sum.

    Raises:
        ValueError: a value is negative or not finite, or all are zero; there is no distribution then.
    """
    largest = max(values, default=0.0)
    if not all(0 <= value < math.inf for value in values) or largest <= 0:
        raise ValueError(f"{list(values)} cannot be normalised to a distribution")
    shares = [value / largest for value in values]  # so that no sum is too large, or too small to divide by
    total = math.fsum(shares)
    return [share / total for share in shares]


def tempered(distribution: Sequence[float], temperature: float) -> list[float]:
    """Each share to the power 1 / `temperature`, normalised: above 1 the distribution comes nearer to an even split of
    the options that have a share, below 1 nearer to its most likely option.

    Raises:
        ValueError: the distribution is none.
    """
    if temperature == 1:
        return list(distribution)
    largest = max(distribution, default=0.0)
    return normalise([(share / largest) ** (1 / temperature) if largest > 0 else share for share in distribution])


def is_distribution(shares: Sequence[object], count: int) -> bool:
    """Whether these are `count` probabilities that sum to 1."""
    numbers = [share for share in shares if isinstance(share, int | float) and 0 <= share < math.inf]
    return len(numbers) == len(shares) == count and math.isclose(math.fsum(numbers), 1, abs_tol=1e-6)


def most_likely(shares: Sequence[float]) -> int:
    """The place of the largest share, or count; of equal ones, that of the first, as in the paper's release.

    Raises:
        ValueError: there are none.
    """
    return shares.index(max(shares))


def mean_over_rotations(readings: Sequence[Sequence[float]]) -> list[float]:
    """Average of the distributions read from each rotation, each mapped back to the options' own order.

    `readings`: [n_rotations, n_options], row r belonging to `rotations(n_options)[r]`.
    """
    mapped = mapped_back(readings)
    return [math.fsum(column) / len(mapped) for column in zip(*mapped, strict=True)]


def spread_over_rotations(readings: Sequence[Sequence[float]]) -> list[float]:
    """How far two readings of the same option are apart at most: [n_options], of `readings` as in
    `mean_over_rotations`. 0 where no place and no letter is preferred."""
    return [max(column) - min(column) for column in zip(*mapped_back(readings), strict=True)]


def mapped_back(readings: Sequence[Sequence[float]]) -> list[list[float]]:
    """The readings of each rotation, [n_rotations, n_options], with every row in the options' own order."""
    count = len(readings[0])
    mapped = [[0.0] * count for _ in readings]
    for row, (reading, order) in enumerate(zip(readings, rotations(count), strict=True)):
        for place, option in enumerate(order):
            mapped[row][option] = reading[place]
    return mapped


def linear_pool(distributions: Sequence[Sequence[float]], weights: Sequence[float]) -> list[float]:
    """The weighted mean of distributions [n, n_options]; `weights` [n] sum to 1 (section 3, distributional mode)."""
    return [
        math.fsum(weight * value for weight, value in zip(weights, column, strict=True))
        for column in zip(*distributions, strict=True)
    ]


def log_linear_pool(distributions: Sequence[Sequence[float]], weights: Sequence[float]) -> list[float]:
    """The weighted geometric mean of distributions [n, n_options], normalised; `weights` [n] sum to 1.

    Raises:
        ValueError: every option has no probability in some distribution with a weight above 0.
    """
    counted = [(row, weight) for row, weight in zip(distributions, weights, strict=True) if weight > 0]
    logs = [
        math.fsum(weight * math.log(value) for value, (_, weight) in zip(column, counted, strict=True))
        if all(column)
        else -math.inf
        for column in zip(*(row for row, _ in counted), strict=True)
    ]
    largest = max(logs)
    if largest == -math.inf:
        raise ValueError("the distributions have no option in common")
    return normalise([math.exp(log - largest) for log in logs])


def median_pool(distributions: Sequence[Sequence[float]], weights: Sequence[float]) -> list[float]:
    """Each option's weighted median in distributions [n, n_options], normalised; `weights` [n] sum to 1.

    Raises:
        ValueError: the median of every option is 0.
    """
    return normalise([_weighted_median(column, weights) for column in zip(*distributions, strict=True)])


def _weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """The value at which half of the weight is reached, or the mean of two where it is reached between them."""
    counted = sorted((value, weight) for value, weight in zip(values, weights, strict=True) if weight > 0)
    half, below = math.fsum(weight for _, weight in counted) / 2, 0.0
    for place, (value, weight) in enumerate(counted):
        below += weight
        if math.isclose(below, half, rel_tol=1e-9) and place + 1 < len(counted):
            return (value + counted[place + 1][0]) / 2
        if below > half:
            return value
    return counted[-1][0]


POOLS: Mapping[Pooling, Callable[[Sequence[Sequence[float]], Sequence[float]], list[float]]] = {
    "linear": linear_pool,
    "log-linear": log_linear_pool,
    "median": median_pool,
}
"""How distributions are pooled, by name."""


def disagreement(distributions: Sequence[Sequence[float]], weights: Sequence[float]) -> float:
    """Generalised Jensen-Shannon divergence: entropy of the pool minus the mean entropy, in nats.

    0 where all distributions are the same; at most the entropy of the weights.
    """
    own = math.fsum(weight * entropy(row) for weight, row in zip(weights, distributions, strict=True))
    return max(0.0, entropy(linear_pool(distributions, weights)) - own)


def from_mean_logprobs(logprobs: Sequence[Sequence[float]]) -> list[float]:
    """Distribution over texts from the log-probabilities of their tokens, length-normalised: softmax of the means.

    Raises:
        ValueError: every text is impossible.
    """
    means = [math.fsum(row) / len(row) for row in logprobs]
    largest = max(means)
    return normalise([0.0 if mean == -math.inf else math.exp(mean - largest) for mean in means])


def mass_of_texts(texts: Sequence[str], logprobs: Sequence[Sequence[float]]) -> float:
    """Probability that a reply begins with one of the texts, from the log-probabilities of their tokens.

    A text that begins with another one is a part of what that has.
    """
    distinct = dict(zip(texts, logprobs, strict=True))
    others = {text: [other for other in distinct if other != text] for text in distinct}
    counted = [row for text, row in distinct.items() if not any(map(text.startswith, others[text]))]
    return min(1.0, math.fsum(math.exp(math.fsum(row)) for row in counted))


def is_low(mass: float | None, scoring: Scoring | None) -> bool:
    """Whether less than half of the probability is on the options, which tells that a model was mostly not answering
    with one of them. Of "text" it tells nothing: a long option has next to none, whatever the model."""
    return mass is not None and scoring != "text" and mass < _LOW_MASS


def entropy(distribution: Sequence[float]) -> float:
    """Shannon's entropy in nats."""
    return -math.fsum(value * math.log(value) for value in distribution if value > 0)
