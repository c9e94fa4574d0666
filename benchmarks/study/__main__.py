"""The study: trains community LMs on survey answers, measures them on questions that they never saw, prints all tables.

examples:
  make study DATA=data                                 the same as the next
  python -m benchmarks.study --data data               everything, which takes hours on two cores
  python -m benchmarks.study --data data --part continents --comment-limit 100
  python -m benchmarks.study --data data --steps 4 --limit 5 --out out/try     only whether everything works
  python -m benchmarks.study --data data --part polis_records --part opinion_records     no training, some minutes

The folder given with --data has the files globalopinionqa_train.json, distributional_test_globalopinionqa_dev550.json
and steerable_test_opinionqa_dev600.json, in the format of the paper's release, and in its folder polis the exports of
some conversations. A fourth file, globalopinionqa_more.json, may be there: further answers that nobody learns from, for
fitting voices and for records. Whatever is finished is kept in --out, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from benchmarks.machine import describe_host
from benchmarks.study.measuring import measure_control, measure_part
from benchmarks.study.parts import ALL, Part, continents, opinion_groups
from benchmarks.study.records import RECORD_PARTS, sheets_of_records
from benchmarks.study.similarities import similarities
from benchmarks.study.tables import Line, Sheet, sheets_of, write_tables
from benchmarks.study.training import demo_base, train_part
from benchmarks.study.voicing import voice_sheets
from modular_pluralism.errors import PluralismError
from modular_pluralism.evaluation.statistics.results import Figure
from modular_pluralism.prepared.cache import prepared_file
from modular_pluralism.training import Trained, TrainingSettings
from modular_pluralism.training.measure import CHANGE

PARTS = {
    "continents": "Five continents (GlobalOpinionQA)",
    "continents_begun": "The same, each begun with the adapter that everybody's answers made",
    "continents_begun_activated": "The same, with adapters that act from the model's own turn on",
    "opinion_groups": "Opinion groups in the United States (OpinionQA)",
}
_TRAIN = "globalopinionqa_train.json"
_TEST = "distributional_test_globalopinionqa_dev550.json"
_MORE = "globalopinionqa_more.json"
_OPINIONS = "steerable_test_opinionqa_dev600.json"
_POLIS = "polis"
_INTERRUPTED = 130


def main() -> int:
    """Run what the command line asks for; the exit code."""
    given = _arguments()
    try:
        parts = _of_records(given)
        trained_parts = [name for name in given.part or PARTS if name in PARTS]
        if trained_parts and prepared_file(demo_base().gguf) is None:
            print("`pluralism models prepare` makes the reading of this study several times faster.", file=sys.stderr)
        for name in trained_parts:
            part = _part(name, given)
            settings = TrainingSettings(seed=given.seed, steps=given.steps)
            trained = train_part(part, given.out, settings, control_only=given.control_only)
            limits = [limit for limit in (given.limit, given.comment_limit) if limit is not None]
            if given.control_only:
                answers = measure_control(part, given.out, limit=given.limit, seed=given.seed)
                parts[name] = [_training(trained)]
            else:
                answers = measure_part(
                    part, given.out, limit=given.limit, comment_limit=min(limits, default=None), seed=given.seed
                )
                parts[name] = [_training(trained), *sheets_of(part, answers, seed=given.seed)]
            if part.begun:  # the best of the pools is heard by its records, too
                parts[name] += voice_sheets(part, given.out, answers, settings, limit=given.limit, seed=given.seed)
        written = write_tables(given.out, parts, PARTS | {name: each.title for name, each in RECORD_PARTS.items()})
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        return _INTERRUPTED
    except (PluralismError, OSError, ValueError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(written[0].read_text(encoding="utf-8"))
    print(f"Seed {given.seed}. {describe_host()}\nWritten: {written[0]}, {written[1]}")
    return 0


def _of_records(given: argparse.Namespace) -> dict[str, list[Sheet]]:
    """These come first: they take minutes, and say what trained communities have to beat."""
    chosen = [name for name in given.part or RECORD_PARTS if name in RECORD_PARTS]
    similar = similarities(given.vectors) if chosen else {}
    given.out.mkdir(parents=True, exist_ok=True)
    return {
        name: sheets_of_records(
            name,
            lambda of: _part(of, given),
            given.data / _POLIS,
            similar,
            seed=given.seed,
            limit=given.limit,
        )
        for name in chosen
    }


def _part(name: str, given: argparse.Namespace) -> Part:
    if name != "opinion_groups":
        more = given.data / _MORE
        return continents(
            given.data / _TRAIN,
            given.data / _TEST,
            begun="begun" in name,
            activated="activated" in name,
            more=more if more.exists() else None,
        )
    return opinion_groups(given.data / _OPINIONS, given.out, given.seed)


def _training(trained: dict[str, Trained]) -> Sheet:
    def number(value: float) -> Figure:
        return Figure(value=value, n=1)

    lines = [
        Line(
            name=name,
            cells={
                "minutes": number(each.fit.seconds / 60),
                "steps": number(each.fit.steps),
                "best step": number(each.fit.best_step),
                **{f"held out, {title}": figure for title, figure in each.figures.items()},
            },
        )
        for name, each in trained.items()
    ]
    return Sheet(
        title="Training",
        note="JS distance on a tenth of the questions to learn from, which chose the best step. "
        f"`{ALL}` is the control: one adapter for the rows of all communities.",
        lines=lines,
        differences=[f"held out, {CHANGE}"],
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder of the files")
    parser.add_argument("--out", type=Path, default=Path("out/study"), metavar="DIR", help="where all of it is written")
    parser.add_argument(
        "--part", action="append", choices=[*RECORD_PARTS, *PARTS], help="one part only; can be repeated"
    )
    parser.add_argument(
        "--vectors", type=Path, metavar="GGUF", help="compare records' questions by this embedding model's vectors, too"
    )
    parser.add_argument("--limit", type=_count, metavar="N", help="measure on the first N items")
    parser.add_argument(
        "--comment-limit", type=_count, metavar="N", help="let the methods with comments answer the first N items only"
    )
    parser.add_argument("--steps", type=_count, metavar="N", help="at most so many steps of training")
    parser.add_argument(
        "--control-only", action="store_true", help="train and measure the one adapter of everybody's answers alone"
    )
    parser.add_argument("--seed", type=int, default=0, help="of every draw (0)")
    return parser.parse_args()


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
