"""Work on items with its progress on standard error; Ctrl-C ends it cleanly."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import typer

from modular_pluralism.cli.eval_progress import EvalProgress

T = TypeVar("T")


def with_progress(total: int, work: Callable[[Callable[[Any, Any], None]], Coroutine[Any, Any, T]]) -> T:
    """What `work` gives, which is told whom to tell of each result; exit code 130 after Ctrl-C."""
    try:
        with EvalProgress(total, sys.stderr) as progress:
            return asyncio.run(work(progress.made))
    except (KeyboardInterrupt, asyncio.CancelledError):
        typer.echo("Stopped. Nothing was written.", err=True)
        raise typer.Exit(130) from None
