"""SciPy's Jensen-Shannon distance, imported when it is asked for, since that takes a second."""

from __future__ import annotations

from typing import Any


def jensenshannon(one: Any, other: Any) -> Any:
    """Base e, as `scipy.spatial.distance.jensenshannon`."""
    from scipy.spatial import distance

    return distance.jensenshannon(one, other)
