"""Comparing sets of prompts by their outcomes on the same items, in pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.items import Kind
from modular_pluralism.evaluation.report.figure_text import figure_text, number_format
from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM
from modular_pluralism.evaluation.statistics.collected import Collected
from modular_pluralism.evaluation.statistics.columns import main_columns
from modular_pluralism.evaluation.statistics.measured import Measure, differences, figures, seen
from modular_pluralism.evaluation.statistics.results import Column, Figure, Row, Table
from modular_pluralism.prompt_trials.trial_result import Compared, Verdict
from modular_pluralism.prompt_trials.variant import BUILT_IN

_WORST = ("js_worst", "coverage_worst")
"""These decide where items failed, since a set of prompts must not win by failing on what is hard."""


def check_measure(kind: Kind, key: str | None) -> None:
    """Raise InputError unless the kind has a measure of that name which says what is better."""
    known = [each.column.key for each in main_columns(kind, {}, ties=True) if each.column.better is not None]
    known += ["coverage"] if kind == "overton" else []
    if key is not None and key not in known:
        raise InputError(f"This task has no measure {key!r}; use one of {', '.join(dict.fromkeys(known))}.")


def measures_of(kind: Kind, collected: Collected) -> list[Measure]:
    """All that say which way is better, and have a value here."""
    columns = main_columns(kind, collected.methods, ties=collected.ties)
    return [each for each in seen(columns, collected.methods) if each.column.better is not None]


def deciding(measures: Sequence[Measure], key: str | None) -> Measure:
    """The measure that decides: the one asked for, or the kind's first, with failures counted.

    Raises:
        InputError: no item has a value of it.
    """
    by_key = {each.column.key: each for each in measures}
    if key is not None and key not in by_key:
        raise InputError(f"No item has a value of {key}; take another --measure.")
    if not measures:
        raise InputError("No item has a value of any measure, since all of them failed; see why with `pluralism eval`.")
    worst = next((by_key[each] for each in _WORST if each in by_key), measures[0])
    return worst if key is None else by_key[key]


def difference_table(collected: Collected, names: Sequence[str], measures: Sequence[Measure]) -> Table:
    """Each of the sets of prompts minus the built-in one, paired on the same items."""
    built_in = collected.methods[BUILT_IN]
    return Table(
        name="differences",
        title="Differences from the built-in prompts",
        note="Each is over the items where both have a value, with the same questions drawn for both; only where its "
        f"interval excludes zero is it clear, and never with fewer than {CLEAR_FROM} questions.",
        columns=[each.column for each in measures],
        rows=[
            Row(
                name=f"{name} − {BUILT_IN}",
                cells=differences(collected.methods[name], built_in, measures, collected.draw),
            )
            for name in names
        ],
        chart=measures[0].column.key if measures else None,
    )


def compare(collected: Collected, name: str, changed: Sequence[str], measure: Measure) -> Compared:
    """A set of prompts against the built-in one by one measure."""
    one, other = collected.methods[name], collected.methods[BUILT_IN]
    key = measure.column.key
    difference = differences(one, other, [measure], collected.draw)[key]
    before = figures(other, [measure], collected.draw)[key]
    after = figures(one, [measure], collected.draw)[key]
    both = measure.valid(one) & measure.valid(other)
    same = bool(both.any()) and np.array_equal(one.column(measure.key)[both], other.column(measure.key)[both])
    questions = len(set(collected.questions.of_items()[both].tolist()))
    verdict = _verdict(difference, measure.column, same=same, questions=questions)
    return Compared(
        name=name,
        changed=list(changed),
        built_in=before,
        value=after,
        difference=difference,
        verdict=verdict,
        sentence=_sentence(name, verdict, measure.column, before, after, difference, questions),
    )


def _verdict(difference: Figure, column: Column, *, same: bool, questions: int) -> Verdict:
    if difference.value is None:
        return "no value"
    if same:
        return "same"
    if questions < CLEAR_FROM:
        return "too few questions"
    if not difference.clear:
        return "unclear"
    return "better" if (difference.value > 0) == (column.better == "higher") else "worse"


def _sentence(
    name: str, verdict: Verdict, column: Column, before: Figure, after: Figure, difference: Figure, questions: int
) -> str:
    found = {
        "better": f"{name} is better than the built-in prompts",
        "worse": f"{name} is worse than the built-in prompts",
        "same": f"{name} makes no difference: every item has the same score as before",
        "unclear": f"{name} makes no clear difference: the interval holds zero",
        "too few questions": f"{name} cannot be told from the built-in prompts with fewer than {CLEAR_FROM} questions",
        "no value": f"{name} has no item in common with the built-in prompts that has a value of {column.title}",
    }[verdict]
    if difference.value is None:
        return f"{found}."
    write = number_format(column, [before, after])
    change = figure_text(difference, number_format(column, [difference]))
    plus = "+" if difference.value > 0 and not change.value.startswith("+") else ""
    return (
        f"{found}. {column.title} ({column.better} is better): {figure_text(after, write).value}, built-in "
        f"{figure_text(before, write).value}, paired difference {plus}{change.value} {change.interval}".rstrip()
        + f", n = {difference.n} items of {questions} question{'s' * (questions != 1)}."
    )
