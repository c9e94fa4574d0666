"""Places of candidates, by keys of which the larger is the better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from modular_pluralism.societal.table import Floats

Places: TypeAlias = npt.NDArray[np.int64]
"""[n_weightings, n_candidates]: 0 is the best, and candidates that are level share a place."""

DIGITS = 10
"""Keys and weights that agree to so many decimals are level: what is less is rounding."""


def places_by(keys: Sequence[Floats]) -> Places:
    """The places by keys [n_weightings, n_candidates] each, of which the first that differs decides."""
    rounded = [-np.round(key, DIGITS) for key in keys]
    order = np.lexsort(rounded[::-1], axis=-1)
    differs = np.zeros(order.shape, dtype=np.int64)
    for key in rounded:
        in_order = np.take_along_axis(key, order, axis=-1)
        differs[..., 1:] |= in_order[..., 1:] != in_order[..., :-1]
    places = np.empty_like(differs)
    np.put_along_axis(places, order, differs.cumsum(axis=-1), axis=-1)
    return places


def sums(weights: Floats, parts: Floats) -> Floats:
    """`parts` [n_members, n] summed over the members under each weighting [n_weightings, n_members].

    Not `@`: its threads wait for cores that others use, for longer than all of this takes.
    """
    summed: Floats = np.einsum("wm,mp->wp", weights, parts)
    return summed
