"""`pluralism community`: make a community LM from data, import one, and add it to a pool or remove it."""

from __future__ import annotations

import os
import signal
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modular_pluralism.cli import next_questions, polis
from modular_pluralism.cli.call_options import (
    JsonOption,
    PoolOption,
    SeedOption,
    examples,
    expand_groups,
    name_or_path_argument,
    name_or_path_option,
    path_option,
)
from modular_pluralism.cli.commands import App
from modular_pluralism.cli.output import print_json, say, tell
from modular_pluralism.cli.typed import typed_file
from modular_pluralism.errors import AdapterError, ModelLoadError, PoolError, TrainingDataError

if TYPE_CHECKING:
    from modular_pluralism.records.rows import Row
    from modular_pluralism.training import Base, Data, Trained, TrainingSettings

app = App(
    epilog=examples("""
pluralism community train europe --data survey.json --where continent=europe --out adapters
pluralism community from-polis export/ --out town
pluralism community import OWNER/REPO --name news_left --model mistral.gguf --out adapters
pluralism community add europe --pool mine.toml --model smollm2 --lora adapters/europe.gguf --description "Europeans"
pluralism community remove europe --pool mine.toml
"""),
    no_args_is_help=True,
)


@app.callback()
def community() -> None:
    """Make a community LM from data, import a published one, and put it into a pool."""


_LONGEST_NAME, _BEFORE_HASH = 64, 50
"""Letters of a community's name, and those that are left of one before a part of a hash."""

_TRAIN_EXAMPLES = examples("""
pluralism community train europe --data survey.json --where continent=europe --model smollm2 --out adapters
pluralism community train --data survey.csv --group continent --out adapters
pluralism community train --data survey.csv --group continent --activated --out adapters
pluralism community train lisbon --data few.csv --start adapters/europe.gguf --out adapters
pluralism community train farmers --data letters.txt --model mistral.gguf --license CC-BY-4.0
""")

_IMPORT_EXAMPLES = examples("""
pluralism community import ./my-peft-adapter --model smollm2 --out adapters
pluralism community import --pool paper-perspective --out paper
""")

ModelOption = Annotated[
    str | None,
    name_or_path_option(
        "--model",
        "-m",
        metavar="NAME|FILE",
        help="A model of the pool, or a GGUF file; the pool's base LLM by default.",
    ),
]
OutOption = Annotated[Path, path_option("--out", "-o", metavar="DIR", help="Where the results are written.")]
PoolFile = Annotated[Path, path_option("--pool", "-p", metavar="FILE", help="The pool file to edit.")]


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What the command has of TrainingSettings."""

    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the data; by default two, or up to ten of few data.")
    ] = None
    steps: Annotated[int | None, typer.Option(min=1, help="Most steps of training.")] = None
    batch: Annotated[int, typer.Option(min=1, help="Items a step.")] = 4
    rate: Annotated[float, typer.Option(help="The highest learning rate.")] = 1e-3
    rank: Annotated[int, typer.Option(min=1, max=256, help="The LoRA's rank.")] = 16
    held_out: Annotated[float, typer.Option(help="Share of the questions that is held out.")] = 0.1
    check_every: Annotated[int, typer.Option(min=1, help="Steps between held-out readings.")] = 50
    patience: Annotated[int, typer.Option(min=1, help="Held-out readings without gain after which training stops.")] = 4
    activated: Annotated[
        bool,
        typer.Option(
            "--activated",
            help="Let the LoRA act from the model's own turn on: faster to train, and a question is read once for all.",
        ),
    ] = False
    seed: SeedOption = 0


app.command("from-polis", epilog=polis.EXAMPLES)(polis.from_polis)
app.command("ask-next", epilog=next_questions.ASK_EXAMPLES)(next_questions.ask_next)
app.command("learn", epilog=next_questions.LEARN_EXAMPLES)(next_questions.learn)


@app.command("train", epilog=_TRAIN_EXAMPLES)
@expand_groups
def train(
    data: Annotated[
        list[Path],
        path_option("--data", "-d", metavar="FILE", help="JSON, JSONL, CSV, parquet or plain text; repeat it."),
    ],
    training: TrainingOptions,
    name: Annotated[
        str | None, typer.Argument(help="The community's name; with --group, what the groups' names begin with.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=VALUE", help="Take these rows only; continent is known; repeat it."),
    ] = None,
    group: Annotated[
        str | None, typer.Option(metavar="FIELD", help="Make one adapter for each value of this field.")
    ] = None,
    model: ModelOption = None,
    pool: PoolOption = "perspective",
    out: OutOption = Path("adapters"),
    attribute: Annotated[str, typer.Option(metavar="FIELD", help="The field that names who answered.")] = "attribute",
    license: Annotated[str | None, typer.Option(help="The licence of the data, for the card.")] = None,
    start: Annotated[
        Path | None,
        typer.Option(parser=typed_file, metavar="FILE", help="Begin with the weights of this GGUF adapter."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Train on fewer than 20 questions, too.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew, whatever an earlier run has left.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a community LM: a LoRA adapter for the engine, from survey answers or texts.

    A run that was stopped goes on where it was when the same command is given again; what it has finished stays.
    """
    from modular_pluralism.training import TrainingSettings
    from modular_pluralism.training.train import check_training

    if name is None and group is None:
        raise typer.BadParameter("give the community a name, or --group FIELD", param_hint="NAME")
    if not (0 < training.rate < 1 and 0 < training.held_out < 1):
        raise typer.BadParameter("--rate and --held-out must lie between 0 and 1")
    base = _base(model, pool).model_copy(update={"start": start})
    communities = _communities(name, data, where or [], group, attribute, license)
    settings = TrainingSettings(**vars(training))
    for called, rows in communities:  # before the first of them takes its minutes
        check_training(called, rows, base, settings, force=force)
    made: dict[str, Any] = {}
    stopped = False
    for called, rows in communities:
        trained, stopped = _train(called, rows, base, out, settings, force=force, restart=restart)
        made[called] = _told(trained)
        if not as_json:
            _print(trained)
        if stopped:
            break
    if as_json:
        print_json(made)
    if stopped:
        tell(f"Stopped after {len(made)} of {len(communities)} communities.", err=True)
        raise typer.Exit(130)


@app.command("import", epilog=_IMPORT_EXAMPLES)
def import_(
    source: Annotated[
        str | None,
        name_or_path_argument(metavar="[PATH|OWNER/REPO]", help="A PEFT adapter's folder, or its name on the hub."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The community's name; the adapter's by default.")] = None,
    model: ModelOption = None,
    pool: PoolOption = "perspective",
    out: OutOption = Path("adapters"),
) -> None:
    """Convert a published PEFT adapter for the engine; without one, all those that the pool names.

    For a whole pool, a copy of the pool file is written beside the adapters.
    """
    from modular_pluralism.training.peft_files import import_adapter
    from modular_pluralism.training.train import check_name

    if source is None:
        _import_pool(pool, out)
        return
    called = name or Path(source).name
    check_name(called)
    target = out / f"{called}.gguf"
    if target.exists():
        raise AdapterError(f"{target} is there already; choose another name with --name, or remove that file.")
    made_for = import_adapter(source, _base(model, pool).gguf, target)
    say(f"{target} is there{f'; its author names {made_for} as its base' if made_for else ''}.")


@app.command(
    "add",
    epilog=examples("pluralism community add europe --pool mine.toml --lora europe.gguf --description Europeans"),
)
def add(
    name: Annotated[str, typer.Argument(help="The community's name.")],
    pool: PoolFile,
    description: Annotated[str, typer.Option(help="What selector and MoE see of the community.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A model of the pool; its base LLM by default.")
    ] = None,
    lora: Annotated[Path | None, path_option(metavar="FILE", help="A GGUF adapter.")] = None,
    persona: Annotated[
        str | None, typer.Option(help="A system prompt, or the name of a file with it, which ends in .md.")
    ] = None,
    prior: Annotated[float | None, typer.Option(help="Its weight, relative to the others'.")] = None,
) -> None:
    """Add a community to a pool file; comments and order stay."""
    from modular_pluralism.graphs.every_graph import check_names
    from modular_pluralism.graphs.shape import example_pool
    from modular_pluralism.pool import COMMUNITY_NAME, Pool
    from modular_pluralism.pool_files import add_community

    if COMMUNITY_NAME.fullmatch(name):  # else the pool file's own check says what is wrong
        check_names(example_pool([name], str(pool)))
    adapter = None
    if lora is not None:
        # Paths of a pool file start at its folder, and ".." leads out of where a link to a folder leads.
        file = lora.absolute().parent.resolve() / lora.name
        adapter = Path(os.path.relpath(file, pool.absolute().parent.resolve())).as_posix()
    fields = {
        "model": model or Pool.load(pool).base,
        "lora": adapter,
        "persona": persona,
        "description": description,
        "prior": prior,
    }
    add_community(pool, name, {key: value for key, value in fields.items() if value is not None})
    missing = "" if lora is None or lora.is_file() else f" {lora} is not there yet."
    tell(f"{pool} has the community {name}.{missing}")


@app.command("remove", epilog=examples("pluralism community remove europe --pool mine.toml"))
def remove(name: Annotated[str, typer.Argument(help="The community's name.")], pool: PoolFile) -> None:
    """Remove a community from a pool file; its adapter stays where it is."""
    from modular_pluralism.pool_files import remove_community

    remove_community(pool, name)
    tell(f"{pool} no longer has the community {name}.")


def _base(model: str | None, pool: str) -> Base:
    """The model to train: one of the pool's (its base LLM where none is named), or a GGUF file."""
    from modular_pluralism.llama.gguf_source import find_gguf
    from modular_pluralism.pool import EmbeddedModel, Pool
    from modular_pluralism.training.settings import Base

    loaded = Pool.load(pool)
    model = model or loaded.base
    config = loaded.models.get(model)
    if isinstance(config, EmbeddedModel):
        file = find_gguf(config.gguf, loaded.folder)
        return Base(
            gguf=file,
            source=_public(config.gguf),
            template=config.template,
            context=config.context,
            template_text=loaded.template_text(model),
            template_kwargs=config.template_kwargs,
        )
    if config is not None:
        raise ModelLoadError(f"The model {model!r} of the pool {loaded.name} is remote; name one with gguf.")
    if not (model.endswith(".gguf") or ":" in model or "/" in model):
        raise ModelLoadError(
            f"The pool {loaded.name} has no model {model!r}; use one of {', '.join(loaded.models)}, or a GGUF file."
        )
    return Base(gguf=find_gguf(model), source=_public(model))


def _public(source: str) -> str:
    """What a card may tell of a model's source: of a path on this machine, the file's name."""
    from modular_pluralism.gguf_names import NO_PATHS

    return source if source.startswith(NO_PATHS) else Path(source).name


def _communities(
    name: str | None, files: list[Path], where: list[str], group: str | None, attribute: str, license: str | None
) -> list[tuple[str, Data]]:
    """The communities to train, each with its rows."""
    from modular_pluralism.records.rows import read_rows
    from modular_pluralism.training import Data
    from modular_pluralism.training.conditions import Condition, choose, grouped, plain

    conditions = [Condition.parse(text) for text in where]
    everything = [record for file in files for record in read_rows(file)]
    _check_attribute(everything, attribute)
    records = choose(everything, conditions, attribute)

    def rows(chosen: list[Row], *more: str) -> Data:
        return Data(chosen, [file.name for file in files], [*where, *more], license, attribute)

    if group is None:
        return [(str(name), rows(records))]
    groups = grouped(records, group, attribute)
    left = len(records) - sum(map(len, groups.values()))
    if left:
        tell(f"{left} of {len(records)} rows have no {group}, and are left out.", err=True)
    names = _group_names(name, list(groups))
    for value, called in names.items():
        if called != "_".join(filter(None, [name, plain(value).replace(" ", "_")])):
            tell(f"The group {value[:100]!r} is called {called}.", err=True)
    return [(names[value], rows(chosen, f"{group}={value}")) for value, chosen in groups.items()]


def _check_attribute(records: list[Row], attribute: str) -> None:
    """Nobody shall take answers of all populations together for those of each."""
    from modular_pluralism.records.survey import is_survey

    if not is_survey(records) or any(attribute in record.fields for record in records):
        return
    fields = ", ".join(dict.fromkeys(name for record in records for name in record.fields))
    if attribute != "attribute":
        raise TrainingDataError(f"No row has a field {attribute!r}; give --attribute one of {fields}.")
    tell(
        "No row has a field 'attribute', so that all answers to a question are added up, and nobody is named; "
        f"--attribute takes another field of {fields}.",
        err=True,
    )


def _group_names(name: str | None, values: Sequence[str]) -> dict[str, str]:
    """The name of each group's community. Where it would be too long, or another one's, a part of a hash stands in it,
    which is the same whatever other groups there are."""
    names = {value: _group_name(name, value) for value in values}
    used = Counter(names.values())
    for value, called in names.items():
        if used[called] > 1 or len(called) > _LONGEST_NAME or called in ("", name):
            names[value] = "_".join(
                filter(None, [called[:_BEFORE_HASH], sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:8]])
            )
    return names


def _group_name(name: str | None, value: str) -> str:
    """The group's own part is without accents, and in punycode where its letters are no Latin ones."""
    known = unicodedata.normalize("NFKD", value.lower())
    letters = "".join(letter for letter in known if not unicodedata.combining(letter))
    if not letters.isascii():
        letters = value.lower().encode("punycode").decode("ascii")
    plain = "".join(letter if letter.isalnum() else "_" for letter in letters).strip("_")
    return "_".join(filter(None, [name, plain]))


def _train(
    name: str, data: Data, base: Base, out: Path, settings: TrainingSettings, *, force: bool, restart: bool
) -> tuple[Trained, bool]:
    """What was trained, and whether Ctrl-C was pressed when all steps were done."""
    from modular_pluralism.cli.progress import TrainingProgress
    from modular_pluralism.training import train_community

    try:
        with _interrupt() as stop, TrainingProgress(name, sys.stderr) as progress:
            trained = train_community(
                name, data, base, out, settings, progress, force=force, restart=restart, stop=stop
            )
            return trained, stop()
    except KeyboardInterrupt:
        kept = (out / f".{name}.training").exists()
        goes_on = f"the same command{' without --restart' if restart else ''} goes on where it was"
        tell(f"Stopped; {goes_on if kept else 'nothing was written'}.", err=True)
        raise typer.Exit(130) from None


@contextmanager
def _interrupt() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed: the first time it waits for the end of a step, the second time it does not."""
    pressed = False

    def note(*_: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        # Written past Python's buffer, which the step may be writing to.
        os.write(sys.stderr.fileno(), b"Stopping after this step; press Ctrl-C again to stop at once.\n")

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _told(trained: Trained) -> dict[str, Any]:
    return {
        **{file: str(getattr(trained, file)) for file in ("adapter", "card", "curve", "results")},
        "steps": trained.fit.steps,
        "best_step": trained.fit.best_step,
        "trained_before": trained.known,
        "seconds": trained.fit.seconds,
        "figures": {name: figure.model_dump() for name, figure in trained.figures.items()},
    }


def _print(trained: Trained) -> None:
    from modular_pluralism.training.model_card import NOTHING_LEARNT

    before = " from before (--restart trains it anew)" if trained.known else ""
    tell(f"{trained.adapter} is there{before}, with its card {trained.card} and its curve {trained.curve}.")
    for what, figure in trained.figures.items():
        interval = "" if figure.low is None else f" ({figure.low:.3f} to {figure.high:.3f})"
        tell(f"  held out, {what}: {figure.value:.3f}{interval}, n {figure.n}")
    if trained.fit.best_step == 0:
        tell(f"  {NOTHING_LEARNT}")


def _import_pool(pool: str, out: Path) -> None:
    from modular_pluralism.llama.gguf_source import find_gguf
    from modular_pluralism.pool import EmbeddedModel, Pool
    from modular_pluralism.pool_files.moved_pool import adapter_files, moved_pool, write_moved_pool
    from modular_pluralism.pools import BUILT_IN_POOLS, PAPER_POOLS
    from modular_pluralism.training.peft_files import import_adapter

    loaded = Pool.load(pool)
    adapters = adapter_files(loaded)
    if not adapters:
        raise PoolError(f"the pool {loaded.name} names no published adapter with peft; name one to import")
    copy = out / f"{loaded.name}.toml"
    original = loaded.folder / copy.name if pool in (*BUILT_IN_POOLS, *PAPER_POOLS) else Path(pool)
    # Before the adapters, since downloading them takes long.
    moved = None if copy.exists() else moved_pool(loaded, original, copy)
    for name, (peft, file) in adapters.items():
        model, target = loaded.models[loaded.communities[name].model], out / file
        assert isinstance(model, EmbeddedModel), "a pool allows no adapter of another"
        if target.exists():
            tell(f"{name}: {target} was there, and stays as it is")
            continue
        import_adapter(peft, find_gguf(model.gguf, loaded.folder), target)
        tell(f"{name}: {target}")
    if moved is None:
        tell(f"{copy} was there, and stays as it is.")
    else:
        write_moved_pool(loaded, moved)
    tell(f"Use it with --pool {copy}")
