"""What a training has come to, and the model card that tells it to people who think about using the adapter."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM
from modular_pluralism.evaluation.statistics.results import Figure
from modular_pluralism.training.fit import Fit, Point
from modular_pluralism.training.settings import TrainingSettings

NOTHING_LEARNT = (
    "No step came nearer to the held-out data than what the training began with, so the adapter changes nothing of it; "
    "try a lower rate, or more data."
)


class Distinct(BaseModel):
    """How many different things there are behind the figures, and what they are ("questions")."""

    count: int
    what: str


class TrainingResults(BaseModel):
    """What a training has come to: the file of figures, and what the card says.

    `fingerprint` is the training's, and `adapter_sha256` its adapter's; `start` is the adapter that it began with,
    `counts` are numbers of things, and `figures` held-out measures by name, in `measure`'s terms.
    """

    model_config = ConfigDict(frozen=True)

    fingerprint: str
    adapter_sha256: str
    name: str
    base: str
    start: str | None
    kind: str
    files: list[str]
    conditions: list[str]
    license: str | None
    counts: dict[str, str]
    settings: TrainingSettings
    steps: int
    steps_at_most: int
    best_step: int
    stopped_early: bool
    seconds: float
    curve: list[Point]
    measure: str
    figures: dict[str, Figure]
    distinct: Distinct
    notes: list[str]

    @property
    def fit(self) -> Fit:
        """What became of the training."""
        return Fit(self.curve, self.best_step, self.steps, self.seconds, self.stopped_early)

    def to_json(self) -> str:
        """The file's text."""
        return self.model_dump_json(indent=2) + "\n"


def card_text(results: TrainingResults) -> str:
    """The card as Markdown, with the fields that the Hugging Face hub reads at its head."""
    chosen = " and ".join(results.conditions) or "all rows"
    parts = [
        f"---\nbase_model: {_yaml(results.base)}\nlicense: {_yaml(results.license or 'unknown')}\nlibrary_name: gguf\n"
        "tags: [lora, community-lm, modular-pluralism]\n---",
        f"# Community LM: {results.name}",
        f"A LoRA adapter in GGUF for `{results.base}`, trained on {results.kind}."
        + (
            f" Training began with the adapter `{results.start}`, so it has learnt from that one's data as well."
            if results.start
            else ""
        ),
        "## Data",
        _table(("what", "value"), [("files", ", ".join(results.files)), ("rows", chosen), *results.counts.items()]),
        "The licence of the data is "
        + (
            f"{results.license}."
            if results.license
            else "not known: nobody gave one with `--license`. Ask before you share the adapter."
        ),
        "## Held-out measures",
        results.measure,
        _table(("", "value", "95 % interval", "items"), [_row(name, each) for name, each in results.figures.items()]),
        f"There are {results.distinct.count} distinct {results.distinct.what} behind these figures"
        + (
            f"; with fewer than {CLEAR_FROM}, the intervals are too narrow, and nothing can be told from them."
            if results.distinct.count < CLEAR_FROM
            else ", which are what was resampled for the intervals."
        ),
        *results.notes,
        "## Training",
        f"{results.steps} steps in {results.seconds / 60:.1f} minutes; the weights are those of step "
        f"{results.best_step}, whose held-out loss was lowest"
        + (" (training stopped early)." if results.stopped_early else ".")
        + (f" {NOTHING_LEARNT}" if results.best_step == 0 else "")
        + f" The curve is in `{results.name}.svg`.",
        _table(("setting", "value"), [(key, str(value)) for key, value in results.settings.model_dump().items()]),
        "## What it must not be used for",
        "- It is not a poll and does not replace one: it repeats what its data says, with errors, and knows nothing of "
        "people whom the data leaves out.\n"
        "- It must not speak for a person, or guess what a person thinks from where they live or what they belong to.\n"
        "- It must not be used to decide about people, to pass for members of the community, or to aim persuasion at "
        "them.\n"
        "- The data is of its time; views change.",
    ]
    return "\n\n".join(parts) + "\n"


def _row(name: str, figure: Figure) -> tuple[str, ...]:
    value = "none" if figure.value is None else f"{figure.value:.3f}"
    interval = "none" if figure.low is None or figure.high is None else f"{figure.low:.3f} to {figure.high:.3f}"
    return name, value, interval, str(figure.n)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _yaml(text: str) -> str:
    return '"' + " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"') + '"'
