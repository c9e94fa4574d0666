"""Training the communities of a part and the control, and the pool files that name them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.study.parts import ALL, Part
from modular_pluralism.cli.progress import TrainingProgress
from modular_pluralism.llama.gguf_source import find_gguf
from modular_pluralism.pool import EmbeddedModel, Pool
from modular_pluralism.records.rows import Row
from modular_pluralism.training import Base, Data, Trained, TrainingSettings, train_community

_CONTROL_STEPS = 1200
_BEGUN_STEPS = 150


def demo_base() -> Base:
    """The demo model."""
    pool = Pool.load("culture")
    model = pool.models[pool.base]
    assert isinstance(model, EmbeddedModel)
    return Base(gguf=find_gguf(model.gguf, pool.folder), source=model.gguf, context=model.context)


def train_part(part: Part, out: Path, settings: TrainingSettings, *, control_only: bool = False) -> dict[str, Trained]:
    """A community LM for each population of the part, unless it is the `control_only`, and the control, in the folders
    of the part and of its family under `out`; those that are there stay as they are."""
    base = demo_base()
    settings = settings.model_copy(update={"activated": part.activated})
    rows = [Row(row, f"row {place}") for place, row in enumerate(part.train, start=1)]
    # The control learns from the same rows as the communities, not from those of people whom none of them has.
    own = [(part.belongs(str(row.fields["attribute"])), row) for row in rows]

    def train(name: str, folder: Path, base: Base, settings: TrainingSettings) -> Trained:
        chosen = [row for community, row in own if community is not None and name in (community, ALL)]
        data = Data(chosen, [f"{part.family} of the study"], [f"community={name}"])
        with TrainingProgress(name, sys.stderr) as progress:
            return train_community(name, data, base, folder, settings, progress)

    # As many rows need more steps.
    longer = settings.model_copy(update={"steps": settings.steps or _CONTROL_STEPS})
    control = train(ALL, out / part.family, base, longer)
    if part.begun:
        base = base.model_copy(update={"start": control.adapter})
        settings = settings.model_copy(update={"steps": settings.steps or _BEGUN_STEPS, "rate": settings.rate / 2})
    communities = [] if control_only else part.describe
    return {name: train(name, out / part.name, base, settings) for name in communities} | {ALL: control}


def write_pool(path: Path, communities: Mapping[str, str]) -> Path:
    """A pool file over the demo model whose communities have the adapters beside it, named as they are."""
    base = demo_base()
    lines = ['base = "smollm2"', "", "[models.smollm2]"]
    lines += [f"gguf = {json.dumps(base.source)}", f"context = {base.context}"]
    for name, description in communities.items():
        lines += ["", f"[communities.{name}]", 'model = "smollm2"']
        lines += [f"lora = {json.dumps(f'{name}.gguf')}", f"description = {json.dumps(description)}"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
