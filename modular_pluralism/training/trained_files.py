"""What a training leaves: an adapter, its card, its figures as JSON and its learning curve; and finding them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modular_pluralism.errors import TrainingError
from modular_pluralism.evaluation.statistics.results import Figure
from modular_pluralism.optional import optional
from modular_pluralism.prepared.entry import file_hash
from modular_pluralism.replaced_file import replaced_file
from modular_pluralism.training.fit import Fit, Point
from modular_pluralism.training.model_card import TrainingResults, card_text


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
        results = TrainingResults.model_validate_json(made.results.read_bytes())
        if (results.fingerprint, results.adapter_sha256) != (fingerprint, file_hash(made.adapter)):
            return None
    except (OSError, ValueError):  # a file of another program, or of an older version
        return None
    if license is not None and license != results.license:
        results = results.model_copy(update={"license": license})
        try:
            for path, text in ((made.card, card_text(results)), (made.results, results.to_json())):
                with replaced_file(path) as file:
                    file.write(text)
        except OSError as error:
            raise TrainingError(
                f"The card {made.card} cannot be written ({error.strerror or error}); make room, or allow writing "
                "there, and run the same command again."
            ) from error
    return replace(made, fit=results.fit, figures=results.figures, known=True)


def draw_curve(path: Path, curve: Sequence[Point], best_step: int, title: str) -> None:
    """Write an SVG of training and held-out loss by step, with the step whose weights were kept marked.

    Raises:
        ModelLoadError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    figures = optional("matplotlib.figure", "train", "The learning curve")
    matplotlib = optional("matplotlib", "train", "The learning curve")
    with matplotlib.rc_context({"svg.hashsalt": "curve", "svg.fonttype": "none", "text.parse_math": False}):
        figure = figures.Figure(figsize=(6, 3.6), layout="constrained")
        axes = figure.subplots()
        axes.plot([p.step for p in curve], [p.held_out for p in curve], "o-", color="#1b6ca8", label="held out")
        trained = [(p.step, p.trained) for p in curve if p.trained is not None]
        axes.plot([x for x, _ in trained], [y for _, y in trained], "s--", color="#c0602a", label="trained on")
        axes.axvline(best_step, color="#777777", linewidth=1, linestyle=":", label=f"kept: step {best_step}")
        axes.set_xlabel("step")
        axes.set_ylabel("loss (nats)")
        axes.set_title(title)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})
