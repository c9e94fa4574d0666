"""Verifiers that other packages bring: a Python callable behind an entry point, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeAlias, get_args

from modular_pluralism.checked import shown
from modular_pluralism.errors import ConfigurationError
from modular_pluralism.societal.verifiers.candidate import Candidate, Finding
from modular_pluralism.types import Verdict

GROUP = "modular_pluralism.verifiers"
"""The group of entry points. A contract names one; it can name no other code."""

Check: TypeAlias = Callable[[Candidate, Mapping[str, Any]], tuple[Verdict, str]]
"""What stands behind an entry point: it is given a candidate and the settings of the rule, and returns a verdict with
its reason."""


def names() -> list[str]:
    """What is installed."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


@cache
def load(name: str) -> Check:
    """The callable of this name.

    Raises:
        ConfigurationError: it cannot be imported, or nothing can be called there.
    """
    entry = next(entry for entry in entry_points(group=GROUP) if entry.name == name)
    package = entry.dist.name if entry.dist else "an installed package"
    try:
        check = entry.load()
    except Exception as error:  # whatever it is, people have to know which package it comes from
        raise ConfigurationError(
            f"The verifier {name} of {package} ({entry.value}) cannot be loaded ({type(error).__name__}: {error}); "
            "mend or uninstall the package."
        ) from error
    if not callable(check):
        raise ConfigurationError(
            f"The verifier {name} of {package} ({entry.value}) is {shown(check)}; it must be a function."
        )
    made: Check = check
    return made


def finding(name: str, candidate: Candidate, settings: Mapping[str, Any]) -> Finding:
    """What the callable of this name finds.

    Raises:
        ConfigurationError: it fails, or returns something else than a verdict and a reason.
    """
    check = load(name)
    try:
        found: object = check(candidate, settings)
    except Exception as error:  # its bug is not ours, and must not pass for a verdict
        raise ConfigurationError(
            f"The verifier {name} fails ({type(error).__name__}: {error}); mend its package, or remove the rule."
        ) from error
    if isinstance(found, tuple) and len(found) == 2:
        verdict, reason = found
        if verdict in get_args(Verdict) and isinstance(reason, str):
            return Finding(verdict, reason)
    raise ConfigurationError(
        f"The verifier {name} returns {shown(found)}; it must return a verdict ({', '.join(get_args(Verdict))}) and a "
        "reason."
    )
