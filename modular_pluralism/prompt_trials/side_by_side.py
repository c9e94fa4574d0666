"""A comparison of prompts without right answers, as its folder holds it: answers, ratings, and pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from modular_pluralism.evaluation.report.folder import write_json, write_text
from modular_pluralism.evaluation.statistics.results import ResultModel
from modular_pluralism.prompt_trials.answers import Answering
from modular_pluralism.prompt_trials.rating_page import RATING_PAGE, pages, rating_page
from modular_pluralism.prompt_trials.ratings import Ratings
from modular_pluralism.prompt_trials.result_models import Answer, SideBySide

JOURNAL = "journal.sqlite"
PAGE = "side_by_side.html"


def side_by_side(answering: Answering, answers: Sequence[Answer], ratings: Ratings) -> SideBySide:
    """What came out of the answers, and of the ratings where there are any."""
    base, *variants = answering.names
    shown = {(answer.item, answer.prompts): answer for answer in answers}
    items = sorted({answer.item for answer in answers})
    both = {
        name: [(shown[item, base], shown[item, name]) for item in items if {(item, base), (item, name)} <= shown.keys()]
        for name in variants
    }
    return SideBySide(
        comparison=answering.digest,
        names=answering.names,
        changed={name: list(changed) for name, changed in answering.changed.items()},
        questions=len(items),
        differ={name: sum(one.shown.strip() != other.shown.strip() for one, other in both[name]) for name in variants},
        failed={
            name: sum(answer.error is not None for answer in answers if answer.prompts == name)
            for name in answering.names
        },
        preferences=ratings.preferences(),
        run=answering.facts(),
    )


def write_folder(folder: Path, result: SideBySide, answers: Sequence[Answer], ratings: Ratings) -> list[Path]:
    """Write the result and the answers, the ratings where there are any, and the pages to read and to rate in; each
    appears whole or not at all.

    Raises:
        EvaluationError: a file cannot be written.
    """
    page, to_rate, kept = folder / PAGE, folder / RATING_PAGE, folder / "answers.jsonl"
    write_text(page, _page(result, answers))
    write_text(to_rate, rating_page(ratings, result.comparison))
    write_text(kept, _lines(answers))
    written = [page, to_rate, kept, write_json(folder / "comparison.json", result)]
    if given := ratings.given():
        written.append(folder / "ratings.jsonl")
        write_text(written[-1], _lines(given))
    return written


def _lines(results: Iterable[ResultModel]) -> str:
    return "".join(f"{each.model_dump_json()}\n" for each in results)


def _page(result: SideBySide, answers: Sequence[Answer]) -> str:
    """One page that loads nothing and runs nothing."""
    by_item: dict[int, list[Answer]] = {}
    for answer in answers:
        by_item.setdefault(answer.item, []).append(answer)
    return pages().get_template("side_by_side.html.jinja").render(result=result, by_item=by_item).lstrip()
