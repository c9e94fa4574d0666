"""Records beside votes: what a part's communities gain by what their people have answered to like questions.

How the two are united is fitted on questions that no adapter has learnt from and that are not measured on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.study.measuring import ONE, VOTE, Answers, ask, control_of, pool_of
from benchmarks.study.parts import ALL, Part, Rows, asked
from benchmarks.study.tables import Line, Sheet
from modular_pluralism.errors import NoEvidenceError
from modular_pluralism.evaluation.data.items import OptionItem
from modular_pluralism.evaluation.data.outcome import Outcome
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.statistics.bootstrap import RESAMPLES, Draw
from modular_pluralism.evaluation.statistics.clusters import by_question, question_of
from modular_pluralism.evaluation.statistics.figures import Mask, differences, figures
from modular_pluralism.evaluation.statistics.kind_measures import JS
from modular_pluralism.evaluation.statistics.results import Figure
from modular_pluralism.evaluation.statistics.scores import Scores
from modular_pluralism.evaluation.statistics.training_free import nearness_group
from modular_pluralism.priors.em import Floats, fit_weights
from modular_pluralism.priors.fit import fit_voices, scores_of_pool
from modular_pluralism.priors.voices import HeardItem, HeardItems, VoiceSettings
from modular_pluralism.records.record import CommunityRecord
from modular_pluralism.records.rows import Row
from modular_pluralism.records.similarity import Lexical
from modular_pluralism.records.survey import answered_items
from modular_pluralism.training import TrainingSettings
from modular_pluralism.training.split import split_by
from modular_pluralism.types import Voice

_VOICES: tuple[Voice, ...] = ("vote", "record")
_FITTED_ON = 300
"""Of the further rows, at most so many are voted on: what is fitted is a dozen numbers, and a row takes a second."""
_VOTE, _RECORD, _BOTH, _FITTED = "vote", "record", "both", "both, fitted"


@dataclass(frozen=True)
class _Asked:
    """Items with the votes of every community on them: an outcome for each item, by community."""

    items: Sequence[OptionItem]
    votes: Mapping[str, Sequence[Outcome]]


def voice_sheets(
    part: Part, out: Path, answers: Answers, settings: TrainingSettings, *, limit: int | None, seed: int
) -> list[Sheet]:
    """The tables of a part whose votes `answers` has, of the control alone or of its communities, too, and whose
    records are made of the rows to learn from. The further votes are kept under `out`, as the others are."""
    held_out, further = unlearnt(part, settings)
    drawn = np.random.default_rng([seed, 6]).permutation(len(further))[:_FITTED_ON]
    learnt_nothing_of = [further[place] for place in sorted(drawn)]
    files = {
        "held_out": _write(out / part.family / "unlearnt.json", held_out),
        "more": _write(out / part.family / "more.json", learnt_nothing_of),
    }
    five = [name for name in part.describe if f"modular only {name}" in answers]
    control, dev = control_of(part, out), _items(part.test, limit)
    groups: dict[str, dict[str, _Asked]] = {"one": {"dev": _Asked(dev, {ALL: answers[ONE]})}}
    if five:
        groups["five"] = {"dev": _Asked(dev, _own(answers, five))}
    for name, path in files.items():
        items = _items(path, limit)
        if not items:
            continue
        found = ask(f"votes_{name}", control, path, limit=limit, seed=seed)
        groups["one"][name] = _Asked(items, {ALL: found[VOTE]})
        if five:
            found = ask(f"votes_{name}", pool_of(part, out), path, limit=limit, seed=seed, patched=five)
            groups["five"][name] = _Asked(items, _own(found, five))
    own = {name: [row for row in part.train if part.belongs(str(row["attribute"])) == name] for name in five}
    whole, with_more = _record(part.train), _record([*part.train, *part.more]) if part.more else None
    variants: list[tuple[str, str, Mapping[str, CommunityRecord], Sequence[str]]] = [
        ("one community, everybody's adapter and answers", "one", {ALL: whole}, list(files)),
        (
            "each community with its own people's answers",
            "five",
            {name: _record(own[name]) for name in five},
            list(files),
        ),
        ("each community with everybody's answers", "five", dict.fromkeys(five, whole), list(files)),
    ]
    if with_more is not None:
        # What is in the records' questions is fitted on with the item's own question left out; those of `more` would
        # then be nearer to each other than to what is measured.
        variants += [
            ("one community, with the further answers in its record", "one", {ALL: with_more}, ["held_out"]),
            (
                "each community with everybody's and the further answers",
                "five",
                dict.fromkeys(five, with_more),
                ["held_out"],
            ),
        ]
    return [
        sheet
        for title, group, records, fitted_on in variants
        if group in groups
        for sheet in _sheets(title, groups[group], records, fitted_on, seed)
    ]


def unlearnt(part: Part, settings: TrainingSettings) -> tuple[Rows, Rows]:
    """The rows of questions that every training of the part has held out, and the part's further rows; of people whom
    some community stands for."""
    rows = [row for row in part.train if part.belongs(str(row["attribute"])) is not None]
    _, held_out = split_by(rows, asked, settings.held_out, settings.seed, what="questions")
    return held_out, [row for row in part.more if part.belongs(str(row["attribute"])) is not None]


def _write(path: Path, rows: Rows) -> Path:
    """As a task file, whose items have numbers of their own."""
    numbered = [{**row, "id": number} for number, row in enumerate(rows, start=1)]
    path.write_text(json.dumps(numbered, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def _items(path: Path, limit: int | None) -> list[OptionItem]:
    if path.read_text(encoding="utf-8") == "[]":
        return []
    return [item for item in TaskFile.open(path, kind="distributional").items(limit) if isinstance(item, OptionItem)]


def _own(answers: Answers, names: Iterable[str]) -> dict[str, Sequence[Outcome]]:
    return {name: answers[f"modular only {name}"] for name in names}


def _record(rows: Rows) -> CommunityRecord:
    items = answered_items(Row(row, f"row {place}") for place, row in enumerate(rows, start=1))
    return CommunityRecord(items, Lexical())


def _heard(asked_of: Sequence[_Asked], records: Mapping[str, CommunityRecord]) -> tuple[HeardItems, list[OptionItem]]:
    """What each community votes and what its record says, of the items that every community has voted on."""
    heard, kept = [], []
    for group in asked_of:
        for place, item in enumerate(group.items):
            votes = [outcomes[place]["prediction"] for outcomes in group.votes.values()]
            shares = [vote["rotate"] for vote in votes if vote is not None]
            if len(item.options) < 2 or len(shares) < len(votes):
                continue
            said = np.full((len(votes), len(_VOICES), len(item.options)), np.nan)
            nearness = np.full(len(votes), np.nan)
            for community, (name, vote) in enumerate(zip(group.votes, shares, strict=True)):
                said[community, 0] = vote
                try:
                    found = records[name].estimate(item.question, item.options, item.attribute, itself=False)
                except NoEvidenceError:
                    continue
                said[community, 1], nearness[community] = found.distribution, found.evidence["nearness"]
            heard.append(HeardItem(said, nearness, np.array(item.gold), question_of(item)))
            kept.append(item)
    return HeardItems(heard, _VOICES), kept


def _sheets(
    title: str,
    groups: Mapping[str, _Asked],
    records: Mapping[str, CommunityRecord],
    fitted_on: Sequence[str],
    seed: int,
) -> list[Sheet]:
    training, fitted_items = _heard([groups[name] for name in fitted_on if name in groups], records)
    measured, items = _heard([groups["dev"]], records)
    present = VoiceSettings({}, "linear", next(iter(records.values())).gate, {})
    settings, tried = fit_voices(training, present, seed)
    priors = fit_weights(training.answered(settings)).weights
    even = np.full(len(records), 1 / len(records))
    scores = {
        _VOTE: scores_of_pool(measured, measured.alone("vote"), even),
        _RECORD: scores_of_pool(measured, measured.alone("record"), even),
        _BOTH: scores_of_pool(measured, measured.united(present), even),
        _FITTED: scores_of_pool(measured, measured.united(settings), priors),
    }
    draw = Draw(seed, RESAMPLES, by_question(items).of_items())
    questions = f"{training.count} items ({by_question(fitted_items).count} questions)"
    taken = [each.part for each in tried if each.taken]
    note = (
        f"{len(items)} items, {by_question(items).count} distinct questions. Fitted on {questions} that no adapter has "
        f"learnt from: {_settings_text(settings, priors, list(records))}. Taken by cross-validation: "
        f"{', '.join(taken) or 'nothing'}."
    )
    return [
        Sheet(
            title=f"Votes and records: {title}",
            note=note,
            lines=[_line(name, scores, draw) for name in scores],
            differences=[f"this − {_VOTE}", f"this − {_RECORD}"],
        ),
        Sheet(
            title=f"The same by how near the nearest answered question is: {title}",
            note="JS distance; of the communities' records the nearest.",
            lines=[
                Line(
                    name=f"{name}, {int(mask.sum())} items",
                    cells={
                        **{each: figures(scores[each], [JS], draw, only=mask)["js"] for each in scores},
                        f"{_FITTED} − {_RECORD}": _change(scores, _FITTED, _RECORD, draw, mask),
                    },
                )
                for name, mask in _by_nearness(measured).items()
            ],
            differences=[f"{_FITTED} − {_RECORD}"],
        ),
    ]


def _line(name: str, scores: Mapping[str, Scores], draw: Draw) -> Line:
    changes = {f"this − {other}": _change(scores, name, other, draw) for other in (_VOTE, _RECORD) if other != name}
    return Line(name=name, cells={"JS distance": figures(scores[name], [JS], draw)["js"], **changes})


def _change(scores: Mapping[str, Scores], one: str, other: str, draw: Draw, only: Mask | None = None) -> Figure:
    return differences(scores[one], scores[other], [JS], draw, only=only)["js"]


def _by_nearness(items: HeardItems) -> dict[str, Mask]:
    nearest = np.nan_to_num(items.nearness).max(1)
    groups = np.array([nearness_group(float(each)) for each in nearest])
    return {name: groups == name for name in sorted(set(groups))}


def _settings_text(settings: VoiceSettings, priors: Floats, names: Sequence[str]) -> str:
    total = sum(settings.weights.get(voice, 1.0) for voice in _VOICES)
    weights = ", ".join(f"{voice} {settings.weights.get(voice, 1.0) / total:.2f}" for voice in _VOICES)
    heat = ", ".join(f"{voice} {settings.temperatures.get(voice, 1.0):g}" for voice in _VOICES)
    shares = ", ".join(f"{name} {share:.2f}" for name, share in zip(names, priors, strict=True))
    return (
        f"weights {weights}; gate {settings.gate.far:g} to {settings.gate.near:g}; pooled {settings.pooling}; "
        f"temperatures {heat}; communities {shares}"
    )
