"""Which tests start processes: read from their code, so that no mark can be forgotten."""

from __future__ import annotations

import asyncio.subprocess
import inspect
import multiprocessing
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

_STARTERS: tuple[object, ...] = (subprocess, asyncio.subprocess, multiprocessing)


def starts_a_process(test: pytest.Function) -> bool:
    """Whether the test or a fixture of it uses `subprocess`, itself or through what stands in tests/."""
    made = test._fixtureinfo.name2fixturedefs
    fixtures = (one.func for name in test.fixturenames for one in made.get(name, ()))
    return any(map(_uses_a_starter, (test.function, *fixtures)))


@cache
def _uses_a_starter(begin: Callable[..., Any]) -> bool:
    seen: set[int] = set()
    waiting: list[object] = [begin]
    while waiting:
        one = waiting.pop()
        if any(one is starter for starter in _STARTERS):
            return True
        if id(one) in seen:
            continue
        seen.add(id(one))
        waiting += _used(one)
    return False


def _used(one: object) -> Iterator[object]:
    """What a function or a class of the tests names, as far as its file's names tell."""
    if callable(one):
        one = inspect.unwrap(one)
    if not str(getattr(one, "__module__", "")).startswith("tests."):
        return
    if isinstance(one, type):
        yield from one.__bases__
        yield from (getattr(part, "fget", None) or getattr(part, "__func__", part) for part in vars(one).values())
    elif isinstance(one, FunctionType):
        for name in _names(one.__code__):
            found = one.__globals__.get(name)
            if isinstance(found, ModuleType | FunctionType | type) or hasattr(found, "__wrapped__"):
                yield found


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
