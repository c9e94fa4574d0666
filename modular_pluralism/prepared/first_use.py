"""Preparing a model in passing, before a demo: where one format is known to be much faster than the file's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from modular_pluralism.errors import PluralismError
from modular_pluralism.llama.engine import Engine
from modular_pluralism.llama.host import usable_memory
from modular_pluralism.prepared.cache import find_entry
from modular_pluralism.prepared.formats import FORMATS, sensible_formats
from modular_pluralism.prepared.prepare import Thoroughness, describe_source, free_disk, prepare
from modular_pluralism.prepared.processor import instructions
from modular_pluralism.prepared.speed import SpeedSample

SLOW_FORMATS = frozenset({"Q4_1", "Q5_1"})
"""Formats for which llama.cpp has no kernel that reads whole prompts at once."""
_QUICK = Thoroughness(rounds=1, texts=4, speed=SpeedSample(prompt=128, together=8, alone=4), quick=True)
"""A few seconds for the demo's model: less than its three modes gain."""
_MOST_BYTES = 500_000_000
"""The largest file that is rewritten in passing: a larger one takes minutes, which people ask for themselves."""

SUGGESTION = "`pluralism models prepare` may make this model faster on this machine."


@dataclass(frozen=True)
class FirstUse:
    """What was done: whether there is a prepared file now, and a line for people."""

    prepared: bool
    line: str


def prepare_on_first_use(source: Path, engine: Engine) -> FirstUse | None:
    """Prepare the model file `source`, which `engine` has loaded, where it is stored in a format that is known to be
    slow and this processor has a fast one.

    What was found is remembered, so that no later run tries again. None where there is nothing to say: the model has
    been prepared, or was found to be best as it is, or is stored in a fast format. Raises no error: a run goes on
    without.
    """
    if find_entry(source) is not None:
        return None
    began = time.perf_counter()
    try:
        file = describe_source(engine)
        if file.format not in SLOW_FORMATS:
            return None
        wanted = [FORMATS["BF16"]] if "AVX512_BF16" in instructions() and file.bytes <= _MOST_BYTES else []
        # What does not fit now may fit another day, so nothing is remembered of it.
        if not sensible_formats(file, wanted, free_disk=free_disk(), free_memory=usable_memory())[0]:
            return FirstUse(False, SUGGESTION)
        entry = prepare(source, formats=["BF16"], threads=engine.settings.threads, thoroughness=_QUICK).entry
    except (PluralismError, OSError):
        return FirstUse(False, SUGGESTION)  # which tells the reason when it is run
    if entry.file is None:
        return FirstUse(False, f"The model is used as it is: {entry.reason}.")
    took = time.perf_counter() - began
    return FirstUse(
        True,
        f"First use: the model was rewritten from {entry.original_format} to {entry.format} in {took:.0f} s, and will "
        f"be used so from now on: {entry.reason}.",
    )
