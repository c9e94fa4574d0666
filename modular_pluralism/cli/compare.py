"""`pluralism prompts compare`: several sets of prompts on the same questions, side by side, and rated blind."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modular_pluralism.cli.call_options import (
    AnswerTokensOption,
    CommentTokensOption,
    JsonOption,
    ModeOption,
    PoolOption,
    ScoringOption,
    SeedOption,
    VoiceOption,
    examples,
    expand_groups,
    path_option,
)
from modular_pluralism.cli.output import print_results_json, say, stoppable

if TYPE_CHECKING:
    from modular_pluralism.prompt_trials.result_models import Answer, CallCounts, SideBySide

EXAMPLES = examples("""
pluralism prompts compare --questions my.txt --variant mine
pluralism prompts compare --questions my.txt --variant mine --mode steerable --attribute "the right to privacy"
pluralism prompts compare --questions my.txt --variant mine --variant other --prompts ours --rate
""")


@dataclass(frozen=True, kw_only=True)
class ComparisonOptions:
    """What AnswerSettings have; `option` is called `options` there."""

    mode: ModeOption = "overton"
    pool: PoolOption = "perspective"
    prompts: Annotated[
        Path | None,
        path_option(
            "--prompts",
            metavar="DIR",
            help="A folder to compare with, in place of the built-in prompts.",
            show_default=False,
        ),
    ] = None
    attribute: Annotated[
        str | None,
        typer.Option("--attribute", "-a", metavar="TEXT", help="Of every question that names none of its own."),
    ] = None
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="TEXT", help="An answer option of every question; repeat it for each."),
    ] = None
    scoring: ScoringOption = "rotate"
    voice: VoiceOption = "comment"
    seed: SeedOption = 0
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first questions only.")] = None
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", min=1, help="Questions at once.")] = 8
    comment_tokens: CommentTokensOption = None
    answer_tokens: AnswerTokensOption = None


@expand_groups
def compare(
    questions: Annotated[
        Path,
        path_option(
            "--questions", metavar="FILE", help="Questions, one a line; or in a .jsonl file, one object a line."
        ),
    ],
    variant: Annotated[list[Path], path_option("--variant", "-v", metavar="DIR", help="A folder of prompts; repeat.")],
    asked: ComparisonOptions,
    rate: Annotated[
        bool, typer.Option("--rate", help="Rate the pairs of answers here, without being told which is which.")
    ] = False,
    ratings: Annotated[
        Path | None,
        path_option(
            "--ratings", metavar="FILE", help="Take the ratings that were saved in rate.html.", show_default=False
        ),
    ] = None,
    show: Annotated[int, typer.Option(min=0, help="Questions to show with their answers.")] = 3,
    out: Annotated[
        Path | None,
        path_option("--out", "-o", metavar="DIR", help="Where everything is written; out/compare_FILE by default."),
    ] = None,
    retry_failures: Annotated[
        bool, typer.Option("--retry-failures", help="Try again what failed in an earlier run.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Answer questions with several sets of prompts, side by side; nobody has to know a right answer.

    The folder gets a page to read (side_by_side.html), one to rate in without being told which is which (rate.html),
    the answers and the ratings as JSON lines, and the result (comparison.json). `--ratings` takes the file that
    rate.html saves. With `--rate`, the pairs are shown here: type 1 or 2 for the better one, = for neither, s to skip,
    q to stop. Ratings are kept as they are given, and answers as they are made: the same command goes on where it was.
    """
    from modular_pluralism.cli.progress import GOES_ON, EvalProgress
    from modular_pluralism.cli.rate import rate as rate_pairs
    from modular_pluralism.evaluation.report.folder import check_folder
    from modular_pluralism.prompt_trials.answers import Answering, AnswerSettings
    from modular_pluralism.prompt_trials.rating_page import RATING_PAGE, read_ratings
    from modular_pluralism.prompt_trials.ratings import Ratings
    from modular_pluralism.prompt_trials.side_by_side import JOURNAL, side_by_side, write_folder

    given = {**vars(asked), "options": asked.option or ()}
    del given["option"]
    answering = Answering(questions, variant, AnswerSettings(**given))
    choices = read_ratings(ratings, answering.digest) if ratings else {}
    folder = out or Path("out") / f"compare_{questions.stem}"
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with stoppable(GOES_ON), answering.journal(folder / JOURNAL) as journal:
        if retry_failures:
            for name in answering.names:
                journal.forget_failures(name)
        with EvalProgress(answering.total, sys.stderr) as progress:
            progress.known(answering.known(journal))
            calls = asyncio.run(answering.run(journal, progress.made))
        answers = answering.answers(journal)
        kept = Ratings(journal, answers, answering.names, asked.seed)
        new, changed = kept.take(choices)
        if rate:
            rate_pairs(kept)
        result = side_by_side(answering, answers, kept)
        written = write_folder(folder, result, answers, kept)
    if as_json:
        print_results_json(result)
        return
    _print_compared(result, [] if rate else answers[: show * len(result.names)], calls)
    if ratings:
        say(f"Taken from {ratings}: {new} new, {changed} in place of earlier ones.")
    for path in written:
        say(f"Written: {path}")
    if any(each.left for each in result.preferences) or not result.preferences:
        say(f"Rate in {folder / RATING_PAGE}, or here with --rate.", "dim")


def _print_compared(result: SideBySide, answers: Sequence[Answer], calls: Mapping[str, CallCounts]) -> None:
    from modular_pluralism.prompt_trials.result_models import CUT_OFF, calls_sentence

    base = result.names[0]
    for preference in result.preferences:
        say(preference.sentence, "bold")
    for name, count in result.differ.items():
        say(f"{name} answers {count} of {result.questions} questions otherwise than {base}.")
    for name, count in result.failed.items():
        if count:
            say(f"{name} failed on {count} of {result.questions} questions; try again with --retry-failures.", "yellow")
    for answer in answers:
        if answer.prompts == base:
            say()
            say(f"{answer.item + 1}. {answer.question}", "bold")
        say(f"{answer.prompts}:", "cyan")
        say(answer.shown, "red" if answer.error else "")
        if answer.cut_off:
            say(CUT_OFF, "yellow")
    if answers:
        say()
    if calls:
        say(calls_sentence(calls))
