"""From the outcomes of several methods to the results: tables with intervals, warnings, examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM, RESAMPLES, Draw, ratio
from modular_pluralism.evaluation.statistics.clusters import Grouping
from modular_pluralism.evaluation.statistics.comparison import difference_table
from modular_pluralism.evaluation.statistics.figures import Measure, differences, figures, seen
from modular_pluralism.evaluation.statistics.kind_measures import JS, JS_LABEL, cost_measures, group_measures
from modular_pluralism.evaluation.statistics.results import Column, Figure, Results, Row, Table
from modular_pluralism.evaluation.statistics.scored_methods import Items, Outcomes, ScoredMethods
from modular_pluralism.evaluation.statistics.scores import Scores
from modular_pluralism.records.record import CommunityRecord

ALL_PAIRS = 6
"""Of so many methods each is compared with each; of more, only the first with each of the others."""

OURS = "modular"
PLAIN = "vanilla"
PATCHED = (f"{OURS} without ", f"{OURS} only ")
"""How the names of methods begin that are ours with another choice of communities."""

_FAILED = Column(key="failed", title="failed", better="lower", help="Items that the method has no result for.")


def summarise(
    task: TaskFile,
    items: Items,
    outcomes: Outcomes,
    methods: Sequence[str],
    *,
    title: str,
    run: Mapping[str, Any],
    seed: int,
    extra: Sequence[Table] = (),
    warnings: Sequence[str] = (),
    resamples: int = RESAMPLES,
    record: CommunityRecord | None = None,
) -> Results:
    """The results of an evaluation.

    `items()` gives the items that were evaluated, anew each time, and `outcomes(method)` that method's outcomes in the
    same order; neither is kept, but for a few numbers of each. `extra` tables and `warnings` are put behind those made
    here. A `record` of answered questions adds what the nearest of them say as a baseline. The same arguments give the
    same results.

    Raises:
        ValueError: the outcomes of a method are not those of the items, in their order.
    """
    scored = ScoredMethods(task.kind, items, outcomes, methods, seed=seed, resamples=resamples, record=record)
    tables = [overall_table(scored), *_differences(scored), *_after_rotation(scored)]
    by_group = [_by_group(name, grouping, scored) for name, grouping in scored.groupings.items()]
    tables += [table for table in by_group if table.columns]
    tables += [*_patching(scored), _cost(scored), *extra]
    results = results_of(task, scored, title=title, run=run, tables=tables, warnings=warnings)
    return results.model_copy(update={"reliability": scored.reliability, "examples": scored.examples})


def results_of(
    task: TaskFile,
    scored: ScoredMethods,
    *,
    title: str,
    run: Mapping[str, Any],
    tables: Sequence[Table],
    warnings: Sequence[str] = (),
) -> Results:
    """The results that consist of these tables, with what a reader has to know of the items and the failures."""
    return Results(
        title=title,
        task=_task_facts(task, scored),
        run=dict(run),
        warnings=[*_data_warnings(task, scored), *warnings],
        tables=list(tables),
        failures=scored.failures,
        failed=scored.failed,
    )


def _task_facts(task: TaskFile, scored: ScoredMethods) -> dict[str, Any]:
    """What the file is, and how much of it was evaluated."""
    facts: dict[str, Any] = {"file": task.path.name, "kind": task.kind, "items": task.count}
    if scored.count != task.count:
        facts["items evaluated"] = scored.count
    return facts | {"questions": scored.questions.count, "sha256": task.digest}


def overall_table(scored: ScoredMethods) -> Table:
    """Every method and training-free baseline with all measures of the kind, over all items."""
    measures = scored.measures()
    failures = [_FAILED] if scored.failed else []
    rows = []
    for name, scores, baseline in _rows(scored):
        cells = figures(scores, measures, scored.draw)
        rows.append(
            Row(name=name, baseline=baseline, cells=cells if baseline or not failures else cells | _failed(scores))
        )
    return Table(
        name="overall",
        title="Overall",
        note=_interval_note(scored) + _baseline_note(scored),
        columns=[*(measure.column for measure in measures), *failures],
        rows=rows,
        chart=next((measure.column.key for measure in measures if measure.column.better is not None), None),
    )


def _failed(scores: Scores) -> dict[str, Figure]:
    return {"failed": Figure(value=float(scores.column("failed").sum()), n=scores.items)}


def _differences(scored: ScoredMethods) -> list[Table]:
    names = list(scored.methods)
    if not names or len(names) + len(scored.baselines) < 2:
        return []
    first = OURS if OURS in names else names[0]
    others = [name for name in names if name != first]
    pairs = [(first, name) for name in others]
    if len(names) <= ALL_PAIRS:
        pairs += [(later, earlier) for earlier, later in combinations(others, 2)]
    pairs += [(first, name) for name in scored.baselines]
    measures = scored.measures(directed=True)
    title = "Differences between methods"
    return [difference_table(title, pairs, scored.methods, measures, scored.draw, baselines=scored.baselines)]


def _after_rotation(scored: ScoredMethods) -> list[Table]:
    """How much of each method's gain over vanilla does not come from a preference for a letter."""
    plain = scored.methods.get(PLAIN)
    if plain is None or not plain.has(JS_LABEL.key):
        return []
    rows, nothing = [], []
    for name, scores in scored.methods.items():
        if name != PLAIN and scores.has(JS_LABEL.key):
            cells = _gains(plain, scores, scored.draw)
            rows.append(Row(name=name, cells=cells))
            if cells["left"].value is None:
                nothing.append(name)
    if not rows:
        return []
    note = (
        f"How much nearer than {PLAIN} to the real distribution: read from the options' own order alone, and with the "
        "preference for a letter taken out by rotating the options."
    )
    if nothing:
        note += (
            f" For {', '.join(nothing)}, there is no gain to keep: what is gained with the options' own order is not "
            "clearly above zero."
        )
    columns = [
        Column(key="gain_label", title="gain, label", better="higher", help=f"JS distance less than {PLAIN}'s, label."),
        Column(key="gain", title="gain, rotated", better="higher", help=f"JS distance less than {PLAIN}'s, rotated."),
        Column(key="left", title="share left", share=True, help="The gain after rotation divided by that before."),
    ]
    return [Table(name="rotation", title="What is left after rotation", note=note, columns=columns, rows=rows)]


def _gains(plain: Scores, scores: Scores, draw: Draw) -> dict[str, Figure]:
    """All three over the items where both methods have both distances."""
    gains = [plain.column(measure.key) - scores.column(measure.key) for measure in (JS_LABEL, JS)]
    both = np.isfinite(gains[0]) & np.isfinite(gains[1])
    features = np.stack([*(np.where(both, gain, 0.0) for gain in gains), both.astype(np.float64)], axis=1)
    bootstrap = draw.of(features)
    n, clusters = int(both.sum()), bootstrap.clusters_with(slice(2, 3))
    before, after = (bootstrap.figure(ratio(place, 2), n=n, clusters=clusters, difference=True) for place in (0, 1))
    gained = before.clear and before.value is not None and before.value > 0
    left = bootstrap.figure(ratio(1, 0), n=n, clusters=clusters) if gained else Figure(value=None, n=n)
    return {"gain_label": before, "gain": after, "left": left}


def _by_group(name: str, grouping: Grouping, scored: ScoredMethods) -> Table:
    measures = seen(group_measures(scored.kind, scored.methods), scored.methods)
    rows = [
        Row(name=row, group=group, baseline=baseline, cells=figures(scores, measures, scored.draw, only=mask))
        for group, mask in grouping.masks().items()
        for row, scores, baseline in _rows(scored)
    ]
    return Table(
        name=name.replace(" ", "_"),
        title=f"By {name}",
        note="Questions are resampled within their group; a group with a single one has no interval.",
        columns=[measure.column for measure in measures],
        rows=rows,
        chart=measures[0].column.key if measures else None,
    )


def _patching(scored: ScoredMethods) -> list[Table]:
    """What each group gains or loses when a community is removed or left alone, as in the paper's analysis (patching).

    Without any grouping, all items stand alone.
    """
    whole = scored.methods.get(OURS)
    patched = {name: scores for name, scores in scored.methods.items() if name.startswith(PATCHED)}
    main = scored.measures()[:1]
    if whole is None or not patched or not main:
        return []
    groupings = {name: grouping.masks() for name, grouping in scored.groupings.items()}
    tables = []
    for grouping, masks in (groupings or {"": {}}).items():
        rows = [
            Row(name=f"{name} − {OURS}", group=group, cells=differences(scores, whole, main, scored.draw, only=mask))
            for group, mask in [(None, None), *masks.items()]
            for name, scores in patched.items()
        ]
        tables.append(
            Table(
                name="_".join(["patching", *grouping.split()]),
                title=f"Communities removed or alone, by {grouping}" if grouping else "Communities removed or alone",
                note=f"The change from {OURS} with all communities, paired on the same items; only where its interval "
                f"excludes zero is it clear, and never with fewer than {CLEAR_FROM} questions. Of many such changes, "
                "one in twenty is clear by chance even where none is real.",
                columns=[main[0].column],
                rows=rows,
                chart=main[0].column.key,
            )
        )
    return tables


def _cost(scored: ScoredMethods) -> Table:
    measures: list[Measure] = seen(cost_measures(scored.methods), scored.methods)
    rows = []
    for name, scores in scored.methods.items():
        counts = {"items": Figure(value=float(scores.items), n=scores.items)} | _failed(scores)
        rows.append(Row(name=name, cells=counts | figures(scores, measures, scored.draw)))
    items = Column(key="items", title="items", help="Items of the task file that were evaluated.")
    return Table(
        name="counts",
        title="What it took",
        columns=[items, _FAILED, *(measure.column for measure in measures)],
        rows=rows,
    )


def _rows(scored: ScoredMethods) -> list[tuple[str, Scores, bool]]:
    """The methods, then the baselines: name, scores, and whether it is a baseline."""
    methods = [(name, scores, False) for name, scores in scored.methods.items()]
    return [*methods, *((name, scores, True) for name, scores in scored.baselines.items())]


def _interval_note(scored: ScoredMethods) -> str:
    what = "situation" if scored.kind in ("steerable-value", "overton") else "question"
    count = scored.questions.count
    return (
        f"The intervals are 95 % percentile bootstrap intervals that resample {count} distinct "
        f"{what}{'s' * (count != 1)}, each with all of its items, since items that ask the same are not independent. "
        f"No difference over fewer than {CLEAR_FROM} {what}s is printed bold. A share that is 0 or 100 % in every "
        f"resample has a Wilson interval from the number of {what}s instead."
    )


def _baseline_note(scored: ScoredMethods) -> str:
    said = {
        "uniform": "uniform gives every option the same share",
        "majority": "majority always says what is right most often among the items with as many options, each item "
        "itself included, which is generous to it and so conservative for the methods",
        "mean": "mean gives the mean real distribution of the other items with as many options (its most likely option "
        "is that of all of these items, each itself included, which is generous in the same way)",
        "nearest questions": "nearest questions gives what the answers to the most similar questions of --answers say, "
        "of which none is the item's own",
    }
    told = [said[name] for name in scored.baselines]
    return f" Baselines without any model: {'; '.join(told)}." if told else ""


def _data_warnings(task: TaskFile, scored: ScoredMethods) -> list[str]:
    """What a reader has to know of the items and the failures before any number."""
    warnings = []
    if scored.failed:
        by_method = {name: int(scores.column("failed").sum()) for name, scores in scored.methods.items()}
        told = ", ".join(f"{number} of {name}" for name, number in by_method.items() if number)
        warnings.append(
            f"Items without a result: {told} ({scored.count} items each). They count as wrong; where a measure has "
            "no value for them, they are left out of it, and their number stands beside."
        )
    sampled = {name: int(np.nansum(scores.column("sampled"))) for name, scores in scored.methods.items()}
    if any(sampled.values()):
        told = ", ".join(f"{number} of {name}" for name, number in sampled.items() if number)
        warnings.append(
            f"Distributions that were estimated from sampled replies, since the endpoint reports no log-probabilities: "
            f"{told}. Their scatter is that of a few draws."
        )
    if scored.moral_choice:
        warnings.append(
            "In MoralChoice the right answer is always option A (low ambiguity) or an even split (high ambiguity), so "
            "that a method that always says A looks perfect on “most likely”; look at the JS distance."
        )
    uniform = scored.baselines.get("uniform")
    even = None if uniform is None else figures(uniform, [JS], scored.draw)["js"].value
    if even is not None:
        warnings.append(
            f"An even split over the options knows nothing, and has a JS distance of {even:.4f} here; a method that is "
            "not clearly nearer shows no knowledge of the answers."
        )
    if task.equal_options:
        warnings.append(
            f"{_items(task.equal_options)} of the file with two equal options; only the letters tell these apart."
        )
    if task.single_option:
        warnings.append(
            f"{_items(task.single_option)} of the file with a single option, where no answer can be wrong; such items "
            "count, as in plain counting, and make every method look a little better."
        )
    if task.unparsed:
        warnings.append(
            f"{_items(task.unparsed)} of the file without the lettered options at the end of the question; there, the "
            "model sees the question as it is in the file."
        )
    return warnings


def _items(count: int) -> str:
    return "There is 1 item" if count == 1 else f"There are {count} items"
