"""Comparing sets of prompts by their outcomes on the same items, in pairs."""

from __future__ import annotations

from collections.abc import Sequence

from modular_pluralism.evaluation.report.figure_text import figure_text, number_format
from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM
from modular_pluralism.evaluation.statistics.comparison import Comparison, compare, difference_table
from modular_pluralism.evaluation.statistics.figures import Measure
from modular_pluralism.evaluation.statistics.results import Column, Table
from modular_pluralism.evaluation.statistics.scored_methods import ScoredMethods
from modular_pluralism.prompt_trials.result_models import Compared
from modular_pluralism.prompt_trials.variants import BUILT_IN


def built_in_differences(title: str, scored: ScoredMethods, names: Sequence[str]) -> Table:
    """Each of the sets of prompts minus the built-in one, paired on the same items."""
    pairs = [(name, BUILT_IN) for name in names]
    return difference_table(title, pairs, scored.methods, scored.measures(directed=True), scored.draw)


def compare_with_built_in(scored: ScoredMethods, name: str, changed: Sequence[str], measure: Measure) -> Compared:
    """A set of prompts against the built-in one by one measure."""
    comparison = compare(scored.methods[name], scored.methods[BUILT_IN], measure, scored.draw)
    return Compared(
        name=name,
        changed=list(changed),
        built_in=comparison.other,
        value=comparison.one,
        difference=comparison.difference,
        verdict=comparison.verdict,
        sentence=_sentence(name, comparison, measure.column),
    )


def _sentence(name: str, comparison: Comparison, column: Column) -> str:
    verdict = {
        "better": f"{name} is better than the built-in prompts",
        "worse": f"{name} is worse than the built-in prompts",
        "same": f"{name} makes no difference: every item has the same score as before",
        "unclear": f"{name} makes no clear difference: the interval holds zero",
        "too few questions": f"{name} cannot be told from the built-in prompts with fewer than {CLEAR_FROM} questions",
        "no value": f"{name} has no item in common with the built-in prompts that has a value of {column.title}",
    }[comparison.verdict]
    difference, questions = comparison.difference, comparison.questions
    if difference.value is None:
        return f"{verdict}."
    write = number_format(column, [comparison.one, comparison.other])
    change = figure_text(difference, number_format(column, [difference]))
    plus = "+" if difference.value > 0 and not change.value.startswith("+") else ""
    return (
        f"{verdict}. {column.title} ({column.better} is better): {figure_text(comparison.one, write).value}, built-in "
        f"{figure_text(comparison.other, write).value}, paired difference {plus}{change.value} "
        f"{change.interval}".rstrip()
        + f", n = {difference.n} items of {questions} question{'s' * (questions != 1)}."
    )
