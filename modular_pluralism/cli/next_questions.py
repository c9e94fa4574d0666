"""`pluralism community ask-next` and `learn`: which questions to put to a community's people, and what they said."""

from __future__ import annotations

import asyncio
import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modular_pluralism.cli.call_options import (
    JsonOption,
    SeedOption,
    examples,
    name_or_path_argument,
    path_argument,
    path_option,
)
from modular_pluralism.cli.output import counted, print_json, print_table, say, stoppable, tell

if TYPE_CHECKING:
    from modular_pluralism.models.pool_models import PoolModels
    from modular_pluralism.pool import Pool
    from modular_pluralism.records.next_questions import Asked, NextQuestion
    from modular_pluralism.records.record import CommunityRecord
    from modular_pluralism.records.survey import OpenQuestion

ASK_EXAMPLES = examples("""
pluralism community ask-next town/pool.toml --from questions.csv
pluralism community ask-next town/pool.toml --from questions.csv --most 10 --out survey.csv
pluralism community ask-next town/pool.toml --from questions.csv --votes --json
""")
LEARN_EXAMPLES = examples("""
pluralism community learn answered.csv --pool town/pool.toml
pluralism community learn answered.csv --pool town/pool.toml --community group_a
""")


def ask_next(
    pool: Annotated[str, name_or_path_argument(metavar="POOL", help="A pool whose communities have records.")],
    file: Annotated[
        Path, path_option("--from", metavar="FILE", help="Questions with their options: CSV, JSON, JSONL or parquet.")
    ],
    most: Annotated[int, typer.Option("--most", min=1, help="Questions to choose.")] = 20,
    votes: Annotated[
        bool, typer.Option("--votes", help="Weigh questions by how far votes and records are apart; asks the models.")
    ] = False,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None, path_option("--out", "-o", metavar="FILE", help="Write them as a CSV file to be filled in.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Rank unanswered questions by how much an answer would tell.

    The first is the question whose answer would tell the communities' records the most of all questions of the file,
    the second the one that then does, and so on. With `--votes`, each community's LM votes on each question, and a
    question counts the more the farther its vote is from its record.
    """
    from modular_pluralism.errors import InputError
    from modular_pluralism.models.pool_models import PoolModels
    from modular_pluralism.pool import Pool
    from modular_pluralism.records.next_questions import rank
    from modular_pluralism.records.rows import stream_rows
    from modular_pluralism.records.survey import open_questions

    loaded = Pool.load(pool)
    questions = open_questions(stream_rows(file))
    if not questions:
        raise InputError(f"{file} has no questions; --from names a file with the columns question and options.")
    if out is not None and out.exists():
        raise InputError(f"{out} is there already; name a new file with --out.")
    models = PoolModels(loaded)
    with stoppable("Stopped. Nothing was written."):
        asked = _asked(questions, loaded, models, seed if votes else None)
        ranked = rank(questions, list(loaded.communities), asked, models.record_similarity(), most)
    known = int(asked.known.all(axis=0).sum())
    if out is not None:
        _write(out, ranked)
    if as_json:
        print_json(
            {
                "questions": [each._asdict() for each in ranked],
                "of": len(questions),
                "answered_by_all": known,
                "seed": seed,
            }
        )
        return
    _print(ranked, of=len(questions), known=known)
    if out is not None:
        say(f"Written: {out}. `pluralism community learn` takes it back when 'answer' is filled in.", prose=True)


def _asked(questions: list[OpenQuestion], pool: Pool, models: PoolModels, seed: int | None) -> Asked:
    """What the records know of the questions; with a seed, also how far the votes are from them."""
    from modular_pluralism.records.next_questions import Asked, apart, records_on

    nearness, known, estimates = records_on(questions, [_record(name, pool, models) for name in pool.communities])
    if seed is None:
        return Asked(nearness, known, None)
    votes = asyncio.run(_votes(questions, pool, models, seed))
    distances = [
        [apart(votes[column].get(name), estimate) for column, estimate in enumerate(of_record)]
        for name, of_record in zip(pool.communities, estimates, strict=True)
    ]
    return Asked(nearness, known, distances)


def _record(community: str, pool: Pool, models: PoolModels) -> CommunityRecord | None:
    """A community's record; None where its file is not there yet, which is told: `learn` makes it."""
    from modular_pluralism.pool_files.learn import recordless

    file = pool.answers_file(community)
    if file is None:
        raise recordless(pool, community)
    if not file.exists():
        tell(f"{community} has no answers yet: there is no file {file}.", err=True)
        return None
    return models.record(community)


async def _votes(
    questions: list[OpenQuestion], pool: Pool, models: PoolModels, seed: int
) -> list[dict[str, list[float]]]:
    """Each community's vote on each question; one that could not vote is missing."""
    from modular_pluralism.cli.progress import EvalProgress
    from modular_pluralism.graphs import build_distributional

    graph = build_distributional(pool, voice="vote", models=models).compile()
    asked: list[Any] = [{"question": each.question, "options": list(each.options), "seed": seed} for each in questions]
    read: list[dict[str, list[float]]] = [{} for _ in questions]
    with EvalProgress(len(questions), sys.stderr) as progress:
        async for place, state in graph.abatch_as_completed(asked, {"max_concurrency": _AT_ONCE}):
            read[place] = {name: each["probabilities"] for name, each in state["distributions"].items()}
            progress.made(None, {"error": None})
    return read


_AT_ONCE = 8
"""Questions that are read at the same time."""


_LONGEST_QUESTION = 200
"""Letters of one in the table."""


def _one_line(question: str) -> str:
    text = " ".join(question.split())
    return text if len(text) <= _LONGEST_QUESTION else f"{text[: _LONGEST_QUESTION - 1]}…"


def _print(ranked: list[NextQuestion], *, of: int, known: int) -> None:
    rows = [
        [
            str(place),
            _one_line(each.question),
            f"{each.gain:.4f}",
            f"{each.nearness:.2f}",
            *([] if each.disagreement is None else [f"{each.disagreement:.3f}"]),
        ]
        for place, each in enumerate(ranked, start=1)
    ]
    numbers = ["gain", "nearness"]
    if ranked and ranked[0].disagreement is not None:
        numbers.append("apart")
    if ranked:
        print_table(["", "question", *numbers], rows, right=["", *numbers])
        say(
            "gain: what an answer adds to what the records know of the file's questions, on average, after those "
            "above it. nearness: of the nearest question that is answered now (1 is the same).",
            "dim",
            prose=True,
        )
    say(
        f"{len(ranked)} of {counted(of, 'question')}; all communities have answered {known} of them already.",
        prose=True,
    )


def _write(out: Path, ranked: list[NextQuestion]) -> None:
    from modular_pluralism.errors import InputError
    from modular_pluralism.records.next_questions import COLUMNS, survey_rows
    from modular_pluralism.replaced_file import replaced_file

    try:
        with replaced_file(out) as file:
            writer = csv.DictWriter(file, fieldnames=COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(survey_rows(ranked))
    except OSError as error:
        raise InputError(
            f"{out} cannot be written ({error.strerror or error}); name another file with --out."
        ) from None


def learn(
    file: Annotated[Path, path_argument(metavar="FILE", help="Answers: a survey file, such as ask-next has begun.")],
    pool: Annotated[Path, path_option("--pool", "-p", metavar="FILE", help="The pool whose records take them.")],
    community: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose answers they are; else the column 'community' says it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put answers into the records of a pool's communities.

    Each row is one person's answer, or the shares of many. Rows without an answer are passed over. A record that does
    not exist yet is made.
    """
    from modular_pluralism.pool import Pool
    from modular_pluralism.pool_files.learn import learn as put
    from modular_pluralism.pool_files.learn import read_answers
    from modular_pluralism.pool_files.pool_text import own_pool

    pool = own_pool(pool)
    loaded = Pool.load(pool)
    with stoppable():
        answers = read_answers(file, loaded, community)
        learnt = put(answers, loaded, pool)
    if as_json:
        told = [{**each._asdict(), "file": str(each.file)} for each in learnt]
        print_json({"learnt": told, "unanswered": answers.unanswered})
        return
    for each in learnt:
        before = f", {each.known:,} of which it had answers to already" if each.known else ""
        line = f"{counted(each.answers, 'answer')}, to {counted(each.questions, 'question')}{before}"
        tell(f"{each.community}: {line}. {each.file}{' (a new file)' if each.made else ''}")
    if answers.unanswered:
        tell(f"Passed over: {counted(answers.unanswered, 'row')} without an answer.", err=True)
