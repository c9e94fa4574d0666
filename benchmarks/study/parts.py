"""The parts of the study: whose answers are learnt, by which communities, and what they are measured on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from modular_pluralism.records.countries import continent
from modular_pluralism.records.question_text import without_options

ALL = "everybody"
"""The control: one adapter that is trained on the rows of all communities."""

Rows = list[dict[str, Any]]

_CONTINENTS = {
    "africa": "Africa",
    "asia": "Asia",
    "europe": "Europe",
    "north_america": "North America",
    "south_america": "South America",
}
_CATEGORIES = {
    "politics": ("POLPARTY", "POLIDEOLOGY"),
    "religion": ("RELIG",),
    "race": ("RACE",),
    "standing": ("EDUCATION", "INCOME", "CREGION", "SEX"),
}
"""OpinionQA's categories, put together until each has more than fifty questions to learn from."""


@dataclass(frozen=True)
class Part:
    """One part: `describe` has the communities with their descriptions, and `belongs` gives an attribute's community,
    None where no community is its own. `train` has the rows to learn from, and `test` is the file to measure on. Parts
    of one `family` have the same rows, and so one control; with `begun`, the communities begin with its weights. With
    `activated`, adapters act from the model's own turn on. `more` are rows that nobody learns from, of questions that
    are in neither of the two."""

    name: str
    family: str
    describe: Mapping[str, str]
    belongs: Callable[[str], str | None]
    train: Rows
    test: Path
    begun: bool = False
    activated: bool = False
    more: Rows = field(default_factory=list)


def continents(
    train: Path, test: Path, *, begun: bool = False, activated: bool = False, more: Path | None = None
) -> Part:
    """Five continents, of GlobalOpinionQA; the files have no question in common. Of `more`, those rows are left out
    that have more options than any that is learnt from."""
    rows, further = _read(train), [] if more is None else _read(more)
    measured = {_question(row) for row in _read(test)}
    for path, others in ((train, rows), (more, further)):
        if shared := {_question(row) for row in others} & measured:
            raise ValueError(f"{path} and {test} have {len(shared)} questions in common; train on other ones")
    most, known = max(len(row["options"]) for row in rows), {_question(row) for row in rows}
    further = [row for row in further if 1 < len(row["options"]) <= most and _question(row) not in known]
    own = {title: name for name, title in _CONTINENTS.items()}
    return Part(
        name=f"continents{'_begun' * begun}{'_activated' * activated}",
        family=f"continents{'_activated' * activated}",
        describe={name: f"People in {title}" for name, title in _CONTINENTS.items()},
        belongs=lambda attribute: own.get(continent(attribute)),
        train=rows,
        test=test,
        begun=begun,
        activated=activated,
        more=further,
    )


def opinion_groups(file: Path, folder: Path, seed: int) -> Part:
    """Groups of people in the United States, of OpinionQA: half of the questions are learnt from, and the other half is
    written into the folder. Rows that a training refuses are left out: those with equal options, or one (the release
    has cut some into pieces), and questions that are told apart by nothing but their options."""
    everything = _read(file)
    options: dict[str, set[frozenset[str]]] = {}
    for row in everything:
        options.setdefault(asked(row), set()).add(frozenset(row["options"]))
    rows = [
        row
        for row in everything
        if 1 < len(row["options"]) == len(set(row["options"])) and len(options[asked(row)]) == 1
    ]
    questions = sorted({_question(row) for row in rows})
    drawn = np.random.default_rng([seed, 1]).permutation(len(questions))[: len(questions) // 2]
    learnt = {questions[place] for place in drawn}
    test = folder / f"{file.stem}_test_half.json"
    folder.mkdir(parents=True, exist_ok=True)
    test.write_text(json.dumps([row for row in rows if _question(row) not in learnt], ensure_ascii=False, indent=1))
    own = {category: name for name, categories in _CATEGORIES.items() for category in categories}
    return Part(
        name="opinion_groups",
        family="opinion_groups",
        describe={
            "politics": "Parties and political ideologies in the United States",
            "religion": "Religions in the United States",
            "race": "Black, White, Asian and Hispanic people in the United States",
            "standing": "People in the United States by education, income, region and sex",
        },
        belongs=lambda attribute: own.get(attribute.partition("_")[0]),
        train=[row for row in rows if _question(row) in learnt],
        test=test,
    )


def _read(path: Path) -> Rows:
    try:
        found: Rows = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"There is no file {path}; name the folder that holds it with --data.") from error
    except ValueError as error:
        raise ValueError(f"{path} is no JSON in UTF-8 ({error}); give the file as it was released.") from error
    return found


def asked(row: Mapping[str, Any]) -> str:
    """A row's question without its lettered options: what a training tells questions apart by."""
    return without_options(str(row["question"]), row["options"])[0]


def _question(row: Mapping[str, Any]) -> str:
    return " ".join(str(row["question"]).split()).casefold()
