"""Preparing a model in passing, before a run that saves more time than that takes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from modular_pluralism.errors import PluralismError
from modular_pluralism.llama.engine import Engine
from modular_pluralism.llama.host import usable_memory
from modular_pluralism.prepared.agreement import WINDOW, compare, read_predictions
from modular_pluralism.prepared.cache import find_entry, store, workplace
from modular_pluralism.prepared.choice import MOST_KL, Choice
from modular_pluralism.prepared.formats import FORMATS, SourceFile, WeightFormat, sensible_formats
from modular_pluralism.prepared.measured import MeasuredFormat, measured_format
from modular_pluralism.prepared.neutral_text import windows
from modular_pluralism.prepared.prepare import describe_source, free_disk, make_entry, prepared_name
from modular_pluralism.prepared.processor import instructions
from modular_pluralism.prepared.quantize import quantize
from modular_pluralism.prepared.speed import SpeedSample, measure_engine, open_engine
from modular_pluralism.prepared.workload import Speeds, Workload

_PROBE = SpeedSample(prompt=128, together=8, alone=4)
_TEXTS = 4
"""Texts compared: 128 positions."""
_SLOW = frozenset({"Q4_1", "Q5_1"})
"""Formats for which llama.cpp has no kernel that reads whole prompts at once."""
_WRITTEN = 150e6
"""Bytes a second that llama.cpp writes in another format, to be on the safe side."""
_HOPE = 0.5
"""The share of the time for prompts and communities that a fast format may save, before it has been measured."""
_MARGIN = 1.2
"""How much more than it costs the preparation has to promise before it is begun."""

SUGGESTION = "`pluralism models prepare` may make this model faster on this machine."


@dataclass(frozen=True)
class FirstUse:
    """What was done: whether there is a prepared file now, and a line for people."""

    prepared: bool
    line: str


def prepare_if_it_pays(source: Path, engine: Engine, run: Workload) -> FirstUse | None:
    """Prepare the model file `source`, which `engine` has loaded, if that saves more time in this `run` than it takes.

    Only one format is tried, the one that is known to be fast here, and it is kept only if it predicts nearly the same
    (MOST_KL). What was found is remembered, so that no later run tries again. None where there is nothing to say: the
    model has been prepared, or was found to be best as it is, or is stored in a fast format. Raises no error: a run
    goes on without.
    """
    if find_entry(source) is not None:
        return None
    try:
        file = describe_source(engine)
        if file.format not in _SLOW:
            return None
        target = _fast_format(file)
        if target is None:
            return FirstUse(False, SUGGESTION)
        return _try(source, engine, file, target, run)
    except (PluralismError, OSError):
        return FirstUse(False, SUGGESTION)  # which tells the reason when it is run


def _fast_format(file: SourceFile) -> WeightFormat | None:
    """The format that is known to be fast on this processor and fits, or None."""
    wanted = [FORMATS["BF16"]] if "AVX512_BF16" in instructions() else []
    fitting, _ = sensible_formats(file, wanted, free_disk=free_disk(), free_memory=usable_memory())
    return fitting[0] if fitting else None


def _try(source: Path, engine: Engine, file: SourceFile, target: WeightFormat, run: Workload) -> FirstUse:
    began = time.perf_counter()
    threads = engine.settings.threads
    before = _probe(engine)
    probing = time.perf_counter() - began
    hoped = _HOPE * (run.prompt / before.prompt + run.together / before.together)
    writing = file.bytes_as(target) / _WRITTEN
    # One and a half: a format that pays is probed in half the time.
    if hoped < _MARGIN * (1.5 * probing + writing + _comparing(before, before)):
        return FirstUse(False, SUGGESTION)
    with workplace() as work:
        path = work / prepared_name(source, target.name)
        quantize(source, path, target, threads=threads)
        size = path.stat().st_size
        loaded = open_engine(path, threads)
        try:
            after = _probe(loaded)
            texts = windows(loaded.model, _TEXTS, WINDOW)
        finally:
            loaded.close()
        saved = run.seconds(before) - run.seconds(after)
        original = measured_format(file.format, file.bytes, [before], None, run)
        if saved < _comparing(before, after):
            choice = Choice(original, f"{target.name} was hardly faster in a short test")
            store(make_entry(source, file, [original], choice, quick=True), source, work)
            return FirstUse(False, f"Rewriting the model as {target.name} would not pay here; it is used as it is.")
        agreement = compare(read_predictions(source, texts, threads), read_predictions(path, texts, threads))
        candidate = measured_format(target.name, size, [after], agreement, run)
        choice = _choose(original, candidate)
        store(make_entry(source, file, [original, candidate], choice, quick=True), source, work)
    took = time.perf_counter() - began
    if choice.format is original:
        return FirstUse(False, f"The model is used as it is: {choice.reason}.")
    return FirstUse(
        True,
        f"First use: the model was rewritten from {file.format} to {target.name} in {took:.0f} s, which should save "
        f"this run about {saved:.0f} s; it predicts nearly what it did (mean KL {candidate.mean_kl:.3f}).",
    )


def _probe(engine: Engine) -> Speeds:
    engine.next_token_logprobs([windows(engine.model, 1, 16)[0]])  # brings the weights into memory
    return measure_engine(engine, _PROBE, 0)


def _comparing(one: Speeds, other: Speeds) -> float:
    """Seconds that comparing the predictions takes, with loading and storing."""
    return 1.0 + _TEXTS * WINDOW * (1 / one.prompt + 1 / other.prompt)


def _choose(original: MeasuredFormat, candidate: MeasuredFormat) -> Choice:
    if candidate.mean_kl > MOST_KL:
        return Choice(original, f"{candidate.format} changes the answers (mean KL {candidate.mean_kl:.3f})")
    return Choice(
        candidate,
        f"a short test before a demo estimated {candidate.typical_run:.0f} s with it instead of "
        f"{original.typical_run:.0f} s, and it predicts nearly what the original does (mean KL "
        f"{candidate.mean_kl:.4f}, at most {MOST_KL})",
    )
