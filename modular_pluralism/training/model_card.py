"""The model card: what stands beside an adapter, for people who think about using it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM
from modular_pluralism.evaluation.statistics.results import Figure
from modular_pluralism.training.fit import Fit
from modular_pluralism.training.settings import TrainingSettings

NOTHING_LEARNT = (
    "No step came nearer to the held-out data than what the training began with, so the adapter changes nothing of it; "
    "try a lower rate, or more data."
)


@dataclass(frozen=True)
class CardFacts:
    """What a card says. `start` is the adapter that the training began with, `counts` are numbers of things, and
    `measures` held-out figures by name, over so many `clusters`, which `clusters_are` names ("questions")."""

    name: str
    base: str
    start: str | None
    kind: str
    files: Sequence[str]
    conditions: Sequence[str]
    license: str | None
    counts: Mapping[str, str]
    settings: TrainingSettings
    fit: Fit
    measure: str
    measures: Mapping[str, Figure]
    clusters: int
    clusters_are: str
    notes: Sequence[str]


def card_text(facts: CardFacts) -> str:
    """The card as Markdown, with the fields that the Hugging Face hub reads at its head."""
    chosen = " and ".join(facts.conditions) or "all rows"
    parts = [
        f"---\nbase_model: {_yaml(facts.base)}\nlicense: {_yaml(facts.license or 'unknown')}\nlibrary_name: gguf\n"
        "tags: [lora, community-lm, modular-pluralism]\n---",
        f"# Community LM: {facts.name}",
        f"A LoRA adapter in GGUF for `{facts.base}`, trained on {facts.kind}."
        + (
            f" Training began with the adapter `{facts.start}`, so it has learnt from that one's data as well."
            if facts.start
            else ""
        ),
        "## Data",
        _table(("what", "value"), [("files", ", ".join(facts.files)), ("rows", chosen), *facts.counts.items()]),
        "The licence of the data is "
        + (
            f"{facts.license}."
            if facts.license
            else "not known: nobody gave one with `--license`. Ask before you share the adapter."
        ),
        "## Held-out measures",
        facts.measure,
        _table(("", "value", "95 % interval", "items"), [_row(name, each) for name, each in facts.measures.items()]),
        f"There are {facts.clusters} distinct {facts.clusters_are} behind these figures"
        + (
            f"; with fewer than {CLEAR_FROM}, the intervals are too narrow, and nothing can be told from them."
            if facts.clusters < CLEAR_FROM
            else ", which are what was resampled for the intervals."
        ),
        *facts.notes,
        "## Training",
        f"{facts.fit.steps} steps in {facts.fit.seconds / 60:.1f} minutes; the weights are those of step "
        f"{facts.fit.best_step}, whose held-out loss was lowest"
        + (" (training stopped early)." if facts.fit.stopped_early else ".")
        + (f" {NOTHING_LEARNT}" if facts.fit.best_step == 0 else "")
        + f" The curve is in `{facts.name}.svg`.",
        _table(("setting", "value"), [(key, str(value)) for key, value in facts.settings.model_dump().items()]),
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
