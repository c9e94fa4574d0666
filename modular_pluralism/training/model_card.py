"""What a training has come to, and the model card that tells it to people who think about using the adapter."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from pydantic import BaseModel, ConfigDict

from modular_pluralism.evaluation.report.plain_text import inline, plain_text
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
    template = files("modular_pluralism.training").joinpath("model_card.md.jinja").read_text(encoding="utf-8")
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"code": _code, "inline": inline, "quoted": _quoted, "three": _three}
    card = environment.from_string(template)
    return card.render(results=results, clear_from=CLEAR_FROM, nothing_learnt=NOTHING_LEARNT)


def _three(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _code(text: str) -> str:
    return f"`{' '.join(plain_text(text).split()).replace('`', chr(39))}`"


def _quoted(text: str) -> str:
    return '"' + " ".join(plain_text(text).split()).replace("\\", "\\\\").replace('"', '\\"') + '"'
