"""`pluralism models`: the same weights in the format that this machine reads fastest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from modular_pluralism.cli.call_options import JsonOption, PoolOption, examples
from modular_pluralism.cli.commands import App
from modular_pluralism.cli.output import print_json, print_table, safe, say, stoppable, tell
from modular_pluralism.errors import InputError

if TYPE_CHECKING:
    from modular_pluralism.models.found_models import FoundModel
    from modular_pluralism.pool import EmbeddedModel, Pool
    from modular_pluralism.prepared.cache import Cached
    from modular_pluralism.prepared.entry import Entry
    from modular_pluralism.prepared.measured import MeasuredFormat
    from modular_pluralism.prepared.prepare import Preparation

app = App(
    epilog=examples("""
pluralism models
pluralism models find
pluralism models prepare
pluralism models prepare --pool my-pool.toml --model small --format q8_0
pluralism models remove --all
"""),
)


@app.callback(invoke_without_command=True)
def list_models(context: typer.Context, as_json: JsonOption = False) -> None:
    """Rewrite a pool's models in the format that this machine reads fastest, and list what was written."""
    if context.invoked_subcommand is not None:
        return
    from modular_pluralism.prepared.cache import cache_folder, everything

    cached = everything()
    if as_json:
        print_json({"models": [_row(folder) for folder in cached]})
    elif cached:
        _print_cache(cached, cache_folder())
    else:
        tell("No model has been prepared yet; `pluralism models prepare` does it.")


@app.command("prepare", epilog=examples("pluralism models prepare --pool my-pool.toml"))
def prepare(
    pool: PoolOption = "perspective",
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="Only this [models.*] table of the pool.")
    ] = None,
    weight_format: Annotated[
        Literal["q4_0", "q8_0", "bf16", "f16"] | None,
        typer.Option("--format", "-f", help="Take this format, even if it is slower or changes the answers."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the formats that make sense on this machine, and keep the best one of each model for later runs.

    A format that changes the answers is never chosen unless it is asked for: the mean KL divergence of its predictions
    from the original's must not exceed 0.02 nats.
    """
    from modular_pluralism.pool import Pool
    from modular_pluralism.prepared.formats import FORMATS
    from modular_pluralism.prepared.prepare import prepare as prepare_file

    forced = None if weight_format is None else weight_format.upper()
    results: list[dict[str, Any]] = []
    with stoppable("Stopped; nothing half-written is left."):
        for name, path, config in _model_files(Pool.load(pool), model):
            usable = [known.name for known in FORMATS.values() if known.exact or not config.repeatable]
            with _progress(name) as progress:
                done = prepare_file(path, formats=usable, forced=forced, threads=config.threads, progress=progress)
            if as_json:
                skipped = [vars(skipped) for skipped in done.skipped]
                entry = done.entry.model_dump(mode="json")
                results.append({"model": name, "source": str(path), "skipped": skipped, "entry": entry})
            else:
                _print_result(name, path, done)
                _print_unless_used(config, done)
    if as_json:
        print_json({"models": results})


@app.command("find", epilog=examples("pluralism models find"))
def find(as_json: JsonOption = False) -> None:
    """List the models that are on this machine already, each with the line that names it in a pool file.

    Looks into the Hugging Face hub's cache, Ollama's store, LM Studio's folder, llama.cpp's own cache and the installed
    Python packages. Loads nothing and fetches nothing.
    """
    from modular_pluralism.models.found_models import found_models

    models = found_models()
    if as_json:
        print_json({"models": [_found_row(model) for model in models]})
        return
    for place, those in groupby(models, key=lambda model: model.place):
        say(place, "bold")
        for model in those:
            # The line alone, so that it can be copied.
            say(f"  {model.line}")
            say(f"      {_told(model)}", "dim")
    if not models:
        say('No model is on this machine; a pool file can name one of the hub, as gguf = "hf:OWNER/REPO:QUANT".')


def _told(model: FoundModel) -> str:
    from modular_pluralism.llama.gguf_parts import parts
    from modular_pluralism.prepared.formats import megabytes

    if model.problem is not None:
        return f"cannot be used: {model.problem}"
    files = f" in {len(parts(model.file))} files" if len(parts(model.file)) > 1 else ""
    return f"{model.architecture}, {model.quantisation}, {megabytes(model.bytes)}{files}"


@app.command("remove", epilog=examples("pluralism models remove --all"))
def remove(
    name: Annotated[
        str | None, typer.Argument(help="An entry, as `pluralism models` names it.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all of them.")] = False,
) -> None:
    """Remove prepared models from the cache; the originals are not touched."""
    from modular_pluralism.prepared import cache

    if (name is None) != everything:
        raise InputError("Name one entry of `pluralism models`, or say --all.")
    removed = cache.remove_all() if name is None else [cache.remove(name)]
    for entry in removed:
        say(f"Removed {entry.name}.")
    if not removed:
        tell("There was nothing to remove.")


def _model_files(pool: Pool, only: str | None) -> list[tuple[str, Path, EmbeddedModel]]:
    """The pool's embedded models with their files, each file once.

    Raises InputError where there is none.
    """
    from modular_pluralism.llama.gguf_parts import real_path
    from modular_pluralism.llama.gguf_source import find_gguf
    from modular_pluralism.pool import EmbeddedModel

    embedded = {name: config for name, config in pool.models.items() if isinstance(config, EmbeddedModel)}
    known = ", ".join(embedded) or "none"
    if only is not None and only not in embedded:
        raise InputError(f"The pool has no embedded model {only!r}; it has {known}.")
    wanted = [only] if only is not None else [name for name, config in embedded.items() if config.prepared]
    if not wanted:
        raise InputError(f"The pool has no embedded model with prepared = true (embedded: {known}); name one.")
    files: dict[Path, tuple[str, Path, EmbeddedModel]] = {}
    for name in wanted:
        path = find_gguf(embedded[name].gguf, pool.folder)
        files.setdefault(real_path(path), (name, path, embedded[name]))
    return list(files.values())


@contextmanager
def _progress(name: str) -> Iterator[Callable[[str], None]]:
    """Shows on standard error what is being done: in one line on a terminal, as a list elsewhere."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda words: console.print(safe(f"{name}: {words}"), soft_wrap=True)
        return
    with console.status(safe(name)) as status:
        yield lambda words: status.update(safe(f"{name}: {words}"))


def _found_row(model: FoundModel) -> dict[str, Any]:
    from modular_pluralism.llama.gguf_parts import parts

    return {
        "found_in": model.place,
        "key": model.key,
        "source": model.source,
        "line": model.line,
        "file": str(model.file),
        "files": len(parts(model.file)),
        "bytes": model.bytes,
        "architecture": model.architecture or None,
        "quantisation": model.quantisation or None,
        "problem": model.problem,
    }


def _row(cached: Cached) -> dict[str, Any]:
    return {
        "name": cached.name,
        "folder": str(cached.folder),
        "bytes": cached.bytes,
        "usable": cached.problem is None,
        "problem": cached.problem,
        "entry": None if cached.entry is None else cached.entry.model_dump(mode="json"),
    }


def _print_cache(cached: list[Cached], folder: Path) -> None:
    from modular_pluralism.prepared.formats import megabytes

    rows = []
    for one in cached:
        formats, made = ("", "") if one.entry is None else (_formats(one.entry), one.entry.made[:10])
        rows.append((one.name, formats, megabytes(one.bytes), made, _state(one)))
    print_table(("name", "format", "on disk", "made", "state"), rows, right=["on disk"])
    say(f"In {folder}")


def _formats(entry: Entry) -> str:
    return f"{entry.format}, kept" if entry.file is None else f"{entry.original_format} → {entry.format}"


def _state(cached: Cached) -> str:
    from modular_pluralism.prepared.choice import MOST_KL

    if cached.problem is not None or cached.entry is None:
        return f"not used: {cached.problem}"
    if cached.entry.file is None:
        return "the original is used"
    chosen = next((measured for measured in cached.entry.measured if measured.format == cached.entry.format), None)
    changes = chosen is not None and chosen.mean_kl > MOST_KL
    return "used, although it changes the answers" if changes else "used"


def _print_result(name: str, path: Path, done: Preparation) -> None:
    from modular_pluralism.prepared.choice import was_busy
    from modular_pluralism.prepared.formats import megabytes

    entry = done.entry
    headings = ("format", "size", "prompt tok/s", "six tok/s", "alone tok/s", "run, s", "top-1", "mean KL")
    rows = [
        (
            measured.format + (" *" if measured.format == entry.format else ""),
            megabytes(measured.bytes),
            *(f"{speed:,.0f}" for speed in (measured.prompt_speed, measured.together_speed, measured.alone_speed)),
            f"{measured.typical_run:.1f}",
            *_agreement_cells(measured),
        )
        for measured in entry.measured
    ]
    print_table(headings, rows, right=headings[1:], title=f"{name}: {path.name}")
    say(_legend(entry), "dim", prose=True)
    for skipped in done.skipped:
        say(f"Left out: {skipped.format} {skipped.reason}.", prose=True)
    if was_busy(entry.measured):
        say("The rounds differ much, so the machine was busy and the speeds are rough.", prose=True)
    say(f"Choice: {entry.format}, because {entry.reason}.", prose=True)
    if entry.file is not None:
        more = entry.bytes - entry.measured[0].bytes
        than = f"{megabytes(abs(more))} {'more' if more >= 0 else 'less'} than the original"
        say(f"Written: {entry.file}, {megabytes(entry.bytes)}, {than}.", prose=True)


def _print_unless_used(config: EmbeddedModel, done: Preparation) -> None:
    """Tell where the pool itself will not use what it was prepared with."""
    from modular_pluralism.prepared.formats import FORMATS

    if done.entry.file is None:
        return
    if not config.prepared:
        tell("This pool does not use it, because it says prepared = false.")
    elif config.repeatable and not FORMATS[done.entry.format].exact:
        tell("This pool does not use it, because it says repeatable = true, which 16-bit weights may not be.")


def _agreement_cells(measured: MeasuredFormat) -> tuple[str, str]:
    agreement = measured.agreement
    if agreement is None:
        return "", ""
    low, high = (f"{100 * share:.0f}" for share in agreement.top1_interval)
    return f"{100 * agreement.top1:.1f} % ({low}–{high})", f"{agreement.mean_kl:.4f}"


def _legend(entry: Entry) -> str:
    from modular_pluralism.prepared.measured import TYPICAL_RUN

    counts = [len(measured.run_seconds) for measured in entry.measured]
    span = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{max(counts)}"
    rounds = f"Best of {span} rounds" if max(counts) > 1 else "One round"
    positions = next((measured.agreement.positions for measured in entry.measured if measured.agreement is not None), 0)
    return (
        f"{rounds}. six: six sequences generated together, all counted. "
        f"run: loading, {TYPICAL_RUN.prompt} prompt tokens, {TYPICAL_RUN.together} generated together and "
        f"{TYPICAL_RUN.alone} alone. top-1: the same likeliest next token as the original, at {positions} positions "
        "of a fixed text (95 % Wilson interval). mean KL: divergence from the original there, in nats; above 0.02 the "
        "answers change."
    )
