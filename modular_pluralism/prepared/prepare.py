"""Preparing a model: measure the formats that make sense on this machine, and keep the best one in the cache."""

from __future__ import annotations

import datetime
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from llama_cpp import llama_cpp as native

from modular_pluralism.errors import InputError, PreparationError
from modular_pluralism.file_names import check_is_utf8
from modular_pluralism.llama.engine import Engine
from modular_pluralism.llama.gguf_parts import PartName, real_path, size_of
from modular_pluralism.llama.host import usable_memory
from modular_pluralism.prepared.agreement import WINDOW, Agreement, compare, read_predictions
from modular_pluralism.prepared.cache import cache_folder, store, workplace
from modular_pluralism.prepared.choice import MOST_KL, ChosenFormat, choose, force
from modular_pluralism.prepared.entry import Entry, stamp
from modular_pluralism.prepared.formats import (
    FORMATS,
    Skipped,
    SourceFile,
    WeightFormat,
    megabytes,
    name_of_file_type,
    sensible_formats,
)
from modular_pluralism.prepared.measured import MeasuredFormat, measured_format
from modular_pluralism.prepared.neutral_text import windows
from modular_pluralism.prepared.processor import describe_processor, llama_cpp_version
from modular_pluralism.prepared.quantize import quantize
from modular_pluralism.prepared.saving import MOST_ROUNDS
from modular_pluralism.prepared.speed import Round, SpeedSample, measure_file, open_engine

Rounds = dict[str, list[Round]]
"""What was measured of each format."""
_LEAST_ROUNDS = 3

Progress = Callable[[str], None]
"""Gets a few words on what is being done now."""


@dataclass(frozen=True)
class Thoroughness:
    """How much is measured: texts that are compared (32 positions each), the most rounds, for how long another one
    begins, and tokens a round. `quick` is what the entry in the cache says of it."""

    rounds: int
    seconds: float = 60
    texts: int = 12
    speed: SpeedSample = SpeedSample()  # noqa: RUF009 - frozen
    quick: bool = False


@dataclass(frozen=True)
class Preparation:
    """What came out: the entry in the cache, and the formats that were not tried."""

    entry: Entry
    skipped: tuple[Skipped, ...]


def prepare(
    source: Path,
    *,
    formats: Sequence[str] | None = None,
    forced: str | None = None,
    threads: int | None = None,
    thoroughness: Thoroughness | None = None,
    progress: Progress = lambda _: None,
) -> Preparation:
    """Measure a model's file and other formats of it, and store the best in the cache, where pools find it.

    `formats` limits what is tried, by names in FORMATS; `forced` is tried alone and taken whatever comes out. Each
    round measures every format once that is still in question, in another order, so that whatever else the machine does
    hits all of them; there are rounds until the choice is clear, or as many as `thoroughness` allows. An interrupted
    call leaves the cache as it was.

    Raises:
        InputError: `forced` is the format that the file has.
        ModelLoadError: the file cannot be loaded.
        PreparationError: there is no room, or a file cannot be written.
    """
    check_is_utf8(real_path(source), PreparationError)
    # What is asked for is taken in any case, so it need not be measured as well.
    how = thoroughness or Thoroughness(rounds=1 if forced else MOST_ROUNDS)
    with workplace() as work:  # before the minutes that measuring takes
        progress(f"reading with the original ({source.name})")
        with closing(open_engine(source, threads)) as engine:
            file = describe_source(engine)
            texts = windows(engine.model, how.texts, WINDOW)
        reference = read_predictions(source, texts, threads)
        tried, skipped = _formats_to_try(file, source, [forced] if forced else formats, is_forced=forced is not None)
        files = {file.format: source}
        agreements: dict[str, Agreement | None] = {file.format: None}
        for target in tried:
            progress(f"writing {target.name} (about {megabytes(file.bytes_as(target))})")
            files[target.name] = work / prepared_name(source, target.name)
            quantize(source, files[target.name], target, threads=threads)
            progress(f"comparing {target.name} with the original")
            agreement = compare(reference, read_predictions(files[target.name], texts, threads))
            if agreement.mean_kl > MOST_KL and forced is None:  # it cannot be chosen, however fast it is
                skipped.append(Skipped(target.name, f"changes the answers (mean KL {agreement.mean_kl:.3f})"))
                del files[target.name]
            agreements[target.name] = agreement

        def summed_up(rounds: Rounds) -> list[MeasuredFormat]:
            return [measured_format(name, size_of(files[name]), rounds[name], agreements[name]) for name in files]

        def asked_for(_: Rounds) -> list[str]:
            return list(files)

        def still_open(rounds: Rounds) -> list[str]:
            return in_question(summed_up(rounds))

        measured = summed_up(measure_in_turns(files, how, threads, progress, asked_for if forced else still_open))
        choice = force(measured, forced) if forced else choose(measured)
        entry = make_entry(source, file, measured, choice, quick=how.quick)
        progress("storing the result")
        store(entry, source, work)
    return Preparation(entry, tuple(skipped))


def describe_source(engine: Engine) -> SourceFile:
    """The model behind an engine, which may lie in several files."""
    model = engine.model
    return SourceFile(
        format=name_of_file_type(model.metadata.get("general.file_type")),
        bytes=size_of(model.path),
        weights=native.llama_model_n_params(model.pointer),
        weight_bytes=native.llama_model_size(model.pointer),
    )


def prepared_name(source: Path, weight_format: str) -> str:
    """The name of a prepared file, from which people see what it was made of; results show it without its ending."""
    # Without the number of a part: llama.cpp writes one file.
    part = PartName.of(source.name)
    return f"{source.stem if part is None else part.stem}.as-{weight_format}.gguf"


def make_entry(
    source: Path, file: SourceFile, measured: Sequence[MeasuredFormat], choice: ChosenFormat, *, quick: bool = False
) -> Entry:
    """The entry for a choice among the measured formats, of which the first is the original."""
    kept = choice.format.format == file.format
    return Entry(
        source=stamp(source),
        original_format=file.format,
        format=choice.format.format,
        file=None if kept else prepared_name(source, choice.format.format),
        bytes=choice.format.bytes,
        reason=choice.reason,
        undecided=tuple(each.format for each in choice.undecided),
        quick=quick,
        llama_cpp_python=llama_cpp_version(),
        processor=describe_processor(),
        made=datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        measured=tuple(measured),
    )


def free_disk() -> int:
    """Bytes that prepared files may take: nine tenths of what is free where the cache is."""
    folder = cache_folder()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free * 9 // 10


def _formats_to_try(
    file: SourceFile, source: Path, wanted: Sequence[str] | None, *, is_forced: bool
) -> tuple[list[WeightFormat], list[Skipped]]:
    names = list(FORMATS) if wanted is None else list(wanted)
    if is_forced and names == [file.format]:
        raise InputError(f"{source.name} is {file.format} already; name another format.")
    tried, skipped = sensible_formats(
        file, [FORMATS[name] for name in names], free_disk=free_disk(), free_memory=usable_memory()
    )
    if is_forced and skipped:
        raise PreparationError(f"{skipped[0].format} {skipped[0].reason}; make room, and try again.")
    return tried, skipped


def in_question(measured: Sequence[MeasuredFormat]) -> list[str]:
    """The formats that another round may decide between; one alone where that is done."""
    choice = choose(measured)
    return [each.format for each in (choice.format, *choice.undecided)]


def measure_in_turns(
    files: dict[str, Path],
    how: Thoroughness,
    threads: int | None,
    progress: Progress,
    in_question: Callable[[Rounds], list[str]],
) -> Rounds:
    """Measure in rounds, each with the formats that are in question after those before."""
    rounds: Rounds = {name: [] for name in files}
    names = list(files)
    began = time.monotonic()
    for turn in range(how.rounds):
        if turn >= _LEAST_ROUNDS:
            names = [name for name in files if name in in_question(rounds)]
            if len(names) == 1 or time.monotonic() - began > how.seconds:
                break
        # Begun with another one each time, and backwards every second time, lest one always follow the same other one.
        first = turn % len(names)
        for name in [*names[first:], *names[:first]][:: -1 if turn % 2 else 1]:
            progress(f"measuring, round {turn + 1} of at most {how.rounds}: {name}")
            rounds[name].append(measure_file(files[name], threads, how.speed, turn))
    return rounds
