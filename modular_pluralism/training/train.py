"""From rows to a community LM: an adapter, its card, its figures and its learning curve, all at once or none."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modular_pluralism.errors import TrainingDataError, TrainingError
from modular_pluralism.llama.gguf_header import check_is_gguf
from modular_pluralism.llama.gguf_parts import latest_change, size_of
from modular_pluralism.optional import optional
from modular_pluralism.pool import COMMUNITY_NAME, NAME_RULE
from modular_pluralism.prepared.entry import file_hash
from modular_pluralism.records.rows import Row
from modular_pluralism.records.survey import is_survey, survey_items
from modular_pluralism.training.base_model import PURPOSE, add_lora, load_base, lora_state, set_lora_state, shrink_base
from modular_pluralism.training.checkpoint import Checkpoints
from modular_pluralism.training.fit import Fit, Watcher, fit, steps_of
from modular_pluralism.training.gguf_adapter import (
    BaseShape,
    LoraConfig,
    adapter_weights,
    gguf_tensors,
    read_base,
    write_gguf_adapter,
)
from modular_pluralism.training.measure import HeldOut, measure_survey, measure_texts
from modular_pluralism.training.model_card import Distinct, TrainingResults, card_text
from modular_pluralism.training.settings import Base, TrainingSettings
from modular_pluralism.training.split import split_by
from modular_pluralism.training.survey_objective import SurveyObjective
from modular_pluralism.training.text_objective import TextObjective, texts_of
from modular_pluralism.training.trained_files import Trained, draw_curve, ended_training, trained_files
from modular_pluralism.training.vote_prompts import VoteEncoder

_MEASURED = 96
"""So many held-out items are read by the engine at most."""
_ROOM = 8
"""Times the size of an adapter that checkpoints and results take on disk."""


@dataclass(frozen=True)
class Data:
    """A community's rows, and where they come from: for the card."""

    rows: Sequence[Row]
    files: Sequence[str]
    conditions: Sequence[str] = ()
    license: str | None = None
    attribute: str = "attribute"


@dataclass(frozen=True)
class _Task:
    """What is to be learnt, of either kind of data."""

    kind: str
    objective: SurveyObjective | TextObjective
    counts: dict[str, str]
    clusters_are: str
    measure: str
    measures: Callable[[Any, Path], HeldOut]


def check_name(name: str) -> None:
    """Raise TrainingDataError unless a community, and so a file, can have this name."""
    if not COMMUNITY_NAME.fullmatch(name):
        raise TrainingDataError(f"{name!r} {NAME_RULE}.")


def check_training(name: str, data: Data, base: Base, settings: TrainingSettings, *, force: bool = False) -> None:
    """Raise what `train_community` would raise of the name, the data and the base, in a moment."""
    check_name(name)
    _read_bases(base)
    with closing(_encoder(base)) as encoder:
        _task(data, encoder, base, settings, force)


def train_community(
    name: str,
    data: Data,
    base: Base,
    out: Path,
    settings: TrainingSettings,
    watcher: Watcher,
    *,
    force: bool = False,
    restart: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train a LoRA for `base` on a community's rows, and write NAME.gguf, NAME.md, NAME.json and NAME.svg into `out`.

    A training that was stopped goes on from its checkpoint in `out`/.NAME.training, and one that has ended is not done
    again where its files are there, unless `restart` is true.

    Raises:
        TrainingDataError: the data or the name cannot be used.
        TrainingError: the base cannot be trained, files cannot be written, or the training diverged.
        AdapterError: adapters for the base's architecture cannot be written.
        ModelLoadError: the base is missing, or the extra `train` is.
        KeyboardInterrupt: `stop` said so; the checkpoint is there.
    """
    check_name(name)
    for module in ("torch", "transformers", "peft", "gguf", "scipy", "matplotlib"):
        optional(module, "train", PURPOSE)
    shape = _read_bases(base)
    with closing(_encoder(base)) as encoder:
        fingerprint = _fingerprint(data, base, settings, encoder)
        checkpoints = Checkpoints(out / f".{name}.training", fingerprint)
        if restart:
            checkpoints.remove()
        # A checkpoint is of a later training than the files beside it.
        elif not checkpoints.exists and (ended := ended_training(name, out, fingerprint, data.license)) is not None:
            return ended
        task = _task(data, encoder, base, settings, force)
        config = _lora_config(settings, encoder)
        _check_room(out, shape, settings)
        model = add_lora(load_base(base.gguf), rank=settings.rank, scale=settings.scale, seed=settings.seed)
        if base.start is not None:
            set_lora_state(model, _start(base.start, list(lora_state(model)), shape, config))
        shrink_base(model)
        done = fit(model, task.objective, settings, checkpoints, watcher, stop)
        trained = _write(name, data, base, shape, out, settings, config, task, model, done, fingerprint)
    checkpoints.remove()
    return trained


def _read_bases(base: Base) -> BaseShape:
    if base.start is not None:
        check_is_gguf(base.start)
    return read_base(base.gguf)


def _start(adapter: Path, keys: Sequence[str], shape: BaseShape, config: LoraConfig) -> dict[str, Any]:
    """The weights of a LoRA that are those of the adapter."""
    torch = optional("torch", "train", PURPOSE)
    weights = adapter_weights(adapter, keys, config, shape)
    return {key: torch.from_numpy(matrix.copy()) for key, matrix in weights.items()}


def _lora_config(settings: TrainingSettings, encoder: VoteEncoder) -> LoraConfig:
    invocation = encoder.invocation() if settings.activated else []
    return LoraConfig(settings.rank, settings.rank * settings.scale, False, {}, {}, None, invocation)


def _task(data: Data, encoder: VoteEncoder, base: Base, settings: TrainingSettings, force: bool) -> _Task:
    make = _survey_task if is_survey(data.rows) else _text_task
    return make(data, encoder, base, settings, force)


def _survey_task(data: Data, encoder: VoteEncoder, base: Base, settings: TrainingSettings, force: bool) -> _Task:
    items = survey_items(data.rows, data.attribute)
    train, held_out = split_by(
        items, lambda item: item.question, settings.held_out, settings.seed, what="questions", force=force
    )
    counts = {
        "questions trained on": str(len({item.question for item in train})),
        "questions held out": str(len({item.question for item in held_out})),
        "items trained on (a question and a population)": str(len(train)),
        "items held out": str(len(held_out)),
        "populations": str(len({item.attribute for item in items})),
    }
    answers = [item.answers for item in items if item.answers is not None]
    if answers:
        counts["single answers, with their weights"] = f"{sum(answers):g}"
    chosen = np.random.default_rng([settings.seed, 5]).permutation(len(held_out))[:_MEASURED]
    measured = [held_out[at] for at in chosen]

    return _Task(
        kind="survey answers",
        clusters_are="questions",
        objective=SurveyObjective(encoder, train, held_out, settings, base.context),
        counts=counts,
        measure="JS distance (0 is equal, 0.833 the farthest) between the real shares of the options and those that "
        "the engine reads, averaged over all rotations of the options, on questions that the training did not see. "
        "They also chose the step whose weights were kept, so a fresh set of questions may come out a little worse.",
        measures=lambda _, adapter: measure_survey(base, adapter, measured, settings.seed),
    )


def _text_task(data: Data, encoder: VoteEncoder, _: Base, settings: TrainingSettings, force: bool) -> _Task:
    if settings.activated:
        raise TrainingDataError(
            "An activated adapter acts from the model's turn on, which texts do not have; give survey answers, or "
            "train a plain one, without --activated."
        )
    texts = texts_of(data.rows)
    train, held_out = split_by(texts, lambda text: text, settings.held_out, settings.seed, what="texts", force=force)
    objective = TextObjective(encoder, train, held_out, settings)

    return _Task(
        kind="texts",
        clusters_are="texts",
        objective=objective,
        counts={
            "texts trained on": str(len(train)),
            "texts held out": str(len(held_out)),
            "tokens trained on": str(objective.tokens),
        },
        measure="Loss a token in nats (its exponential is the perplexity) on blocks of texts that the training did not "
        "see. They also chose the step whose weights were kept.",
        measures=lambda model, _: measure_texts(model, objective, settings.seed),
    )


def _encoder(base: Base) -> VoteEncoder:
    return VoteEncoder(
        base.gguf,
        template=base.template,
        template_text=base.template_text,
        template_kwargs=base.template_kwargs,
    )


def _fingerprint(data: Data, base: Base, settings: TrainingSettings, encoder: VoteEncoder) -> str:
    """The same for the same training, and different for any other."""
    told: list[Any] = [
        settings.model_dump(exclude=None if settings.activated else {"activated"}),
        [row.fields for row in data.rows],
        [base.gguf.name, size_of(base.gguf), latest_change(base.gguf), base.template],
        None if base.start is None else file_hash(base.start),
        [encoder.prompts[name].text for name in ("vote", "vote_group", "option")],
        data.attribute,
    ]
    if base.template_text or base.template_kwargs:  # else as ever, so that trainings from before go on
        told.append([base.template_text, base.template_kwargs])
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _check_room(out: Path, shape: BaseShape, settings: TrainingSettings) -> None:
    """Before minutes of work: whether the folder can be made, and has room for what will be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out).free
    except OSError as error:
        raise TrainingError(f"The folder {out} cannot be made ({error.strerror}); name another with --out.") from error
    matrices = [(rows, columns) for name, (rows, columns) in shape.tensors.items() if name.startswith("blk.")]
    needed = _ROOM * 4 * settings.rank * sum(rows + columns for rows, columns in matrices)
    if free < needed:
        raise TrainingError(
            f"The disk of {out} has {free / 2**20:.0f} MiB free, and the training needs {needed / 2**20:.0f}; make "
            "room, or name another folder with --out."
        )


def _write(
    name: str,
    data: Data,
    base: Base,
    shape: BaseShape,
    out: Path,
    settings: TrainingSettings,
    config: LoraConfig,
    task: _Task,
    model: Any,
    done: Fit,
    fingerprint: str,
) -> Trained:
    stage = out / f".{name}.{secrets.token_hex(4)}.part"
    for left in out.glob(f".{name}.*.part"):  # by a run that was killed while it wrote
        shutil.rmtree(left, ignore_errors=True)
    try:
        stage.mkdir()
        part = {ending: stage / f"{name}.{ending}" for ending in ("svg", "json", "md", "gguf")}
        weights = {key: value.float().numpy() for key, value in lora_state(model).items()}
        tensors = gguf_tensors(weights, config, shape)
        write_gguf_adapter(part["gguf"], tensors, shape, name=name, invocation=config.invocation)
        held_out = task.measures(model, part["gguf"])
        results = TrainingResults(
            fingerprint=fingerprint,
            adapter_sha256=file_hash(part["gguf"]),
            name=name,
            base=base.source,
            start=None if base.start is None else base.start.stem,
            kind=task.kind,
            files=list(data.files),
            conditions=list(data.conditions),
            license=data.license,
            counts=task.counts,
            settings=settings,
            steps_at_most=steps_of(len(task.objective.lengths), settings),
            measure=task.measure,
            figures=held_out.figures,
            distinct=Distinct(count=held_out.clusters, what=task.clusters_are),
            notes=held_out.notes,
            **vars(done),
        )
        part["md"].write_text(card_text(results), encoding="utf-8")
        part["json"].write_text(results.to_json(), encoding="utf-8")
        draw_curve(part["svg"], done.curve, done.best_step, f"{name}: {task.kind}")
        for path in part.values():  # the adapter last: where it is, everything is
            path.replace(out / path.name)
    except OSError as error:
        raise TrainingError(
            f"The adapter cannot be written into {out} ({error.strerror or error}); make room, or allow writing there, "
            "and run the same command again: it goes on from the checkpoint."
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return trained_files(name, out, done, held_out.figures)
