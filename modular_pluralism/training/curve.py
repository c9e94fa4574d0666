"""The learning curve as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modular_pluralism.optional import optional
from modular_pluralism.training.fit import Point


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
