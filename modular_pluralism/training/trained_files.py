"""What a training leaves: an adapter, its card, its figures as JSON and its learning curve; and finding them again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modular_pluralism.errors import TrainingError
from modular_pluralism.evaluation.statistics.results import Figure
from modular_pluralism.replaced_file import replaced_file
from modular_pluralism.training.fit import Fit, Point
from modular_pluralism.training.model_card import CardFacts, card_text
from modular_pluralism.training.settings import TrainingSettings


@dataclass(frozen=True)
class Trained:
    """What a training has made; `figures` are held-out measures, of which lower is nearer to the data. `known` says
    that it was there already, and nothing was trained."""

    adapter: Path
    card: Path
    curve: Path
    results: Path
    fit: Fit
    figures: dict[str, Figure]
    known: bool = False


def trained_files(name: str, out: Path, done: Fit, figures: Mapping[str, Figure]) -> Trained:
    """The files that a community's training has in `out`."""
    adapter, card, curve, results = (out / f"{name}.{ending}" for ending in ("gguf", "md", "svg", "json"))
    return Trained(adapter, card, curve, results, done, dict(figures))


def ended_training(name: str, out: Path, fingerprint: str, license: str | None) -> Trained | None:
    """What the training with this fingerprint has made before, None unless all of it is there. Where another licence is
    given than the card tells, the card tells that one from now on.

    Raises:
        TrainingError: the card cannot be written.
    """
    made = trained_files(name, out, Fit(), {})
    if not all(path.is_file() for path in (made.adapter, made.card, made.curve, made.results)):
        return None
    try:
        told = Results.from_json(made.results.read_text(encoding="utf-8"))
        if (told.fingerprint, told.adapter_sha256) != (fingerprint, file_sha256(made.adapter)):
            return None
    except (OSError, ValueError, KeyError, TypeError):  # a file of another program, or of an older version
        return None
    if license is not None and license != told.facts.license:
        told = replace(told, facts=replace(told.facts, license=license))
        try:
            for path, text in ((made.card, card_text(told.facts)), (made.results, told.to_json())):
                with replaced_file(path) as file:
                    file.write(text)
        except OSError as error:
            raise TrainingError(
                f"The card {made.card} cannot be written ({error.strerror or error}); make room, or allow writing "
                "there, and run the same command again."
            ) from error
    return replace(made, fit=told.facts.fit, figures=dict(told.facts.measures), known=True)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes. Raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Results:
    """The file of figures: what the card says, and of which training and which adapter it says so."""

    facts: CardFacts
    fingerprint: str
    adapter_sha256: str
    steps_at_most: int

    def to_json(self) -> str:
        """The file's text."""
        facts, fit = self.facts, self.facts.fit
        told = {
            "fingerprint": self.fingerprint,
            "adapter_sha256": self.adapter_sha256,
            "name": facts.name,
            "base": facts.base,
            "start": facts.start,
            "kind": facts.kind,
            "files": list(facts.files),
            "conditions": list(facts.conditions),
            "license": facts.license,
            "counts": dict(facts.counts),
            "settings": facts.settings.model_dump(),
            "steps": fit.steps,
            "steps_at_most": self.steps_at_most,
            "best_step": fit.best_step,
            "stopped_early": fit.stopped_early,
            "seconds": fit.seconds,
            "curve": [{"step": each.step, "trained": each.trained, "held_out": each.held_out} for each in fit.curve],
            "measure": facts.measure,
            "figures": {name: figure.model_dump() for name, figure in facts.measures.items()},
            "distinct": {"count": facts.clusters, "what": facts.clusters_are},
            "notes": list(facts.notes),
        }
        return json.dumps(told, ensure_ascii=False, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Results:
        """Undo `to_json`. Raises ValueError, KeyError or TypeError where the text is not its."""
        told: dict[str, Any] = json.loads(text)
        curve = [Point(point["step"], point["trained"], point["held_out"]) for point in told["curve"]]
        facts = CardFacts(
            **{key: told[key] for key in ("name", "base", "start", "kind", "files", "conditions", "license", "counts")},
            settings=TrainingSettings.model_validate(told["settings"]),
            fit=Fit(curve, told["best_step"], told["steps"], told["seconds"], told["stopped_early"]),
            measure=told["measure"],
            measures={name: Figure.model_validate(figure) for name, figure in told["figures"].items()},
            clusters=told["distinct"]["count"],
            clusters_are=told["distinct"]["what"],
            notes=told["notes"],
        )
        return cls(facts, told["fingerprint"], told["adapter_sha256"], told["steps_at_most"])
