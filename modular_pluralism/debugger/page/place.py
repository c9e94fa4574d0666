"""Where the page is served, and whether it may be."""

from __future__ import annotations

from dataclasses import dataclass

from modular_pluralism.errors import InputError
from modular_pluralism.local_names import is_loopback


@dataclass(frozen=True)
class Place:
    """Where the page is served; port 0 takes a free one. `others` says that more than this machine may reach it."""

    host: str
    port: int
    others: bool = False


def check_place(place: Place) -> None:
    """Raise InputError where the page would be open to others, and nobody has said so."""
    if not place.others and not is_loopback(place.host):
        raise InputError(
            f"{place.host} can be reached by others, and the page has no login: whoever opens it can read your runs "
            "and ask your models. Leave --host out, or add --let-others-in if that is what you want."
        )
