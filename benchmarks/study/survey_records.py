"""Communities that are heard by nothing but their records, on the survey files of the study: no language model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.study.parts import Part, Rows
from benchmarks.study.tables import Line, Sheet
from modular_pluralism.errors import NoEvidenceError
from modular_pluralism.evaluation.data.items import OptionItem
from modular_pluralism.evaluation.data.outcome import Outcome, Prediction, empty_outcome
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.statistics.bootstrap import RESAMPLES
from modular_pluralism.evaluation.statistics.figures import Mask, differences, figures
from modular_pluralism.evaluation.statistics.kind_measures import JS
from modular_pluralism.evaluation.statistics.results import Figure
from modular_pluralism.evaluation.statistics.scored_methods import ScoredMethods
from modular_pluralism.evaluation.statistics.scores import Scores
from modular_pluralism.evaluation.statistics.training_free import NEAREST
from modular_pluralism.option_math import POOLS, normalise
from modular_pluralism.records.record import CommunityRecord
from modular_pluralism.records.rows import Row
from modular_pluralism.records.similarity import Similarity
from modular_pluralism.records.survey import answered_items

POOL, FIRST, OWN, ONE = "pool of records", "their own record first", "their own record", "one record of everybody"
"""Equal weights; OWN_SHARE for the record of whose people are asked about; that record alone; and all rows in one."""
OWN_SHARE = 0.7
"""What the record of the people who are asked about weighs, where it comes first. Chosen on GlobalOpinionQA's training
part, each question left out in turn; see docs/study.md."""
_WITHOUT, _FIRST_WITHOUT = "pool without ", "their own record first, without "
_BASELINES = {"mean": "*mean of the other items*", "uniform": "*uniform*"}

Said = list[float] | None
"""A record's distribution, [n_options]; None where it is not heard."""


class Recorded(NamedTuple):
    """A part's items, what each community's record says to each of them [n_items], and that of everybody."""

    items: list[OptionItem]
    owners: list[str | None]
    said: dict[str, list[Said]]
    everybody: list[Said]
    record: CommunityRecord


def recorded(part: Part, similar: Similarity, limit: int | None = None) -> Recorded:
    """What the records say: each of its own people's rows alone, and one of all of them.

    A record is heard as one that speaks alone is: not where nothing near has been answered.

    Raises:
        TrainingDataError: a row is no survey answer.
    """
    items = [
        item for item in TaskFile.open(part.test, kind="distributional").items(limit) if isinstance(item, OptionItem)
    ]
    owned = [(part.belongs(str(row["attribute"])), row) for row in part.train]
    whole = _record([row for owner, row in owned if owner is not None], similar)
    said = {}
    for name in part.describe:
        own = _record([row for owner, row in owned if owner == name], similar)
        said[name] = [_says(own, item) for item in items]
    owners = [part.belongs(item.attribute) for item in items]
    return Recorded(items, owners, said, [_says(whole, item) for item in items], whole)


def _record(rows: Rows, similar: Similarity) -> CommunityRecord:
    return CommunityRecord(answered_items(Row(row, f"row {place}") for place, row in enumerate(rows, 1)), similar)


def _says(record: CommunityRecord, item: OptionItem) -> Said:
    try:
        found = record.estimate(item.question, item.options, item.attribute)
    except NoEvidenceError:
        return None
    return found.distribution if found.evidence["opening"] > 0 else None


def pooled(
    said: Mapping[str, Sequence[Said]], names: Sequence[str], owners: Sequence[str | None] | None = None
) -> list[Said]:
    """The linear pool of these communities, as a pool file without a quorum has it: none where fewer than a majority
    are heard. The weights are equal; or, with the `owners` of the items, OWN_SHARE for an item's owner, and the rest in
    equal parts for the others, as tables of priors have it."""
    together: list[Said] = []
    for place, each in enumerate(zip(*(said[name] for name in names), strict=True)):
        heard = {name: shares for name, shares in zip(names, each, strict=True) if shares is not None}
        if len(heard) < len(names) // 2 + 1:
            together.append(None)
            continue
        owner = None if owners is None else owners[place]
        rest = (1 - OWN_SHARE) / (len(said) - 1)
        weights = normalise([OWN_SHARE if name == owner else rest for name in heard])
        together.append(POOLS["linear"](list(heard.values()), weights))
    return together


def record_sheets(part: Part, similar: Mapping[str, Similarity], *, seed: int, limit: int | None = None) -> list[Sheet]:
    """The tables of a part, for each similarity: methods, and patching.

    Raises:
        TrainingDataError: a row is no survey answer.
    """
    sheets = []
    for title, each in similar.items():
        found = recorded(part, each, limit)
        scored = _scored(found, seed)
        masks = {name: np.array([owner == name for owner in found.owners]) for name in part.describe}
        sheets.append(_methods(scored, title))
        sheets.append(_by_nearness(scored, title))
        sheets.append(_whose(scored, masks, title))
        sheets.append(_patches(scored, masks, title, POOL, _WITHOUT, _EQUAL))
        sheets.append(_patches(scored, masks, title, FIRST, _FIRST_WITHOUT, _OWN_FIRST))
    return sheets


def _scored(found: Recorded, seed: int) -> ScoredMethods:
    names = list(found.said)
    own = [None if owner is None else found.said[owner][place] for place, owner in enumerate(found.owners)]
    said: dict[str, list[Said]] = {
        POOL: pooled(found.said, names),
        FIRST: pooled(found.said, names, found.owners),
        OWN: own,
        ONE: found.everybody,
        **found.said,
    }
    for name in names:
        others = [each for each in names if each != name]
        said[_WITHOUT + name] = pooled(found.said, others)
        said[_FIRST_WITHOUT + name] = pooled(found.said, others, found.owners)
    return ScoredMethods(
        "distributional",
        lambda: iter(found.items),
        lambda method: _outcomes(method, found.items, said[method]),
        list(said),
        seed=seed,
        resamples=RESAMPLES,
        record=found.record,
    )


def _outcomes(method: str, items: Sequence[OptionItem], said: Sequence[Said]) -> Iterator[Outcome]:
    for item, shares in zip(items, said, strict=True):
        outcome = empty_outcome(item.id, method)
        if shares is None:
            outcome["error"] = "Too few records have answered a question near enough."
        else:
            outcome["prediction"] = Prediction(
                rotate=shares, label=None, rotate_mass=None, label_mass=None, samples=None
            )
        yield outcome


def _methods(scored: ScoredMethods, title: str) -> Sheet:
    rows = {name: scored.methods[name] for name in (POOL, FIRST, OWN, ONE)}
    rows[f"*{NEAREST} of everybody, however far*"] = scored.baselines[NEAREST]
    rows |= {shown: scored.baselines[name] for name, shown in _BASELINES.items()}
    against = {"mean of the other items": scored.baselines["mean"], NEAREST: scored.baselines[NEAREST]}
    lines = []
    for name, scores in rows.items():
        cells: dict[str, Figure | None] = {"JS distance": figures(scores, [JS], scored.draw)["js"]}
        for other, compared in against.items():
            same = compared is scores
            cells[f"this − {other}"] = None if same else differences(scores, compared, [JS], scored.draw)["js"]
        lines.append(Line(name=_counted(name, scores), cells=cells))
    return Sheet(
        title=f"Records alone, {title}",
        note=f"{scored.count} items, {scored.questions.count} distinct questions. How many items are answered stands "
        "beside each name, and differences are over the items that both answer. Below zero, this is nearer.",
        lines=lines,
        differences=[f"this − {other}" for other in against],
    )


def _counted(name: str, scores: Scores) -> str:
    return f"{name} ({int(np.isfinite(scores.column('js')).sum())} items)"


def _by_nearness(scored: ScoredMethods, title: str) -> Sheet:
    nearest, mean = scored.baselines[NEAREST], scored.baselines["mean"]
    lines = [
        Line(
            name=f"{group} ({int(mask.sum())} items)",
            cells={
                NEAREST: figures(nearest, [JS], scored.draw, only=mask)["js"],
                "mean of the other items": figures(mean, [JS], scored.draw, only=mask)["js"],
                "difference": differences(nearest, mean, [JS], scored.draw, only=mask)["js"],
            },
        )
        for group, mask in scored.groupings["nearest answered question"].masks().items()
    ]
    return Sheet(
        title=f"How near the nearest question of everybody's record is, {title}",
        note="JS distance.",
        lines=lines,
        differences=["difference"],
    )


def _whose(scored: ScoredMethods, masks: Mapping[str, Mask], title: str) -> Sheet:
    rows = {name: scored.methods[name] for name in masks}
    rows |= {POOL: scored.methods[POOL], ONE: scored.methods[ONE]}
    rows |= {shown: scored.baselines[name] for name, shown in _BASELINES.items()}
    lines = [
        Line(
            name=name,
            cells={
                column: figures(scores, [JS], scored.draw, only=mask)["js"]
                for column, mask in masks.items()
                if mask.any()
            },
        )
        for name, scores in rows.items()
    ]
    return Sheet(
        title=f"Each record on everybody's questions, {title}",
        note="Rows: whose record speaks, alone. Columns: whose answers are predicted. JS distance, over what each "
        "answers.",
        lines=lines,
    )


_EQUAL = (
    "Equal weights, whoever is asked about. JS distance without the community, and the paired change when its record "
    "is added; below zero, it helps. Each record holds its own people's answers alone."
)
_OWN_FIRST = (
    f"The record of whose people are asked about weighs {OWN_SHARE:g}, and the others the rest, as a table of priors "
    "for each country or group has it; where theirs is not in the pool, the others weigh the same."
)


def _patches(scored: ScoredMethods, masks: Mapping[str, Mask], title: str, whole: str, part: str, note: str) -> Sheet:
    lines = []
    for name, mask in masks.items():
        if not mask.any():
            continue
        before, after = scored.methods[part + name], scored.methods[whole]
        cells: dict[str, Figure | None] = {}
        for heading, chosen in (("its own items", mask), ("others", ~mask)):
            both = np.isfinite(before.column("js")) & np.isfinite(after.column("js")) & chosen
            cells[f"{heading}, without"] = figures(before, [JS], scored.draw, only=both)["js"]
            cells[f"{heading}, change"] = differences(after, before, [JS], scored.draw, only=both)["js"]
            if heading == "its own items":
                cells[f"{heading}, change in %"] = _relative(after, before, scored, both)
        lines.append(Line(name=name, cells=cells))
    told = "equal weights" if whole == POOL else "their own record first"
    return Sheet(
        title=f"Patching by a record alone, {title}, {told}",
        note=note,
        lines=lines,
        differences=[*(f"{heading}, change" for heading in ("its own items", "others")), "its own items, change in %"],
    )


def _relative(after: Scores, before: Scores, scored: ScoredMethods, both: Mask) -> Figure:
    """The change of the mean distance, in per cent of that without the community."""
    columns = np.stack([after.column("js")[both], before.column("js")[both]], axis=1)
    return scored.draw.of(columns, both).figure(
        lambda sums: 100 * (sums[..., 0] / sums[..., 1] - 1), n=len(columns), difference=True
    )
