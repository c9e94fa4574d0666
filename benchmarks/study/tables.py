"""The study's tables: figures with paired intervals over questions, as data and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from benchmarks.study.measuring import COMMENT, ONE, VOTE, Answers
from benchmarks.study.parts import Part
from modular_pluralism.evaluation.data.items import Item, OptionItem
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM, RESAMPLES
from modular_pluralism.evaluation.statistics.figures import Mask, differences, figures, seen
from modular_pluralism.evaluation.statistics.kind_measures import JS, main_measures
from modular_pluralism.evaluation.statistics.results import Figure
from modular_pluralism.evaluation.statistics.scored_methods import ScoredMethods

_TITLES = {
    VOTE: "pool, `vote`",
    ONE: "one adapter for all",
    COMMENT: "the same pool, `comment`",
    "moe": "MoE",
    "prompting": "prompting",
    "vanilla": "vanilla",
    "uniform": "*uniform*",
    "mean": "*mean of the other items*",
}


_AGAINST = "pool, `vote` − this"


class Line(BaseModel):
    """A row of a table: its name, and its figures by column."""

    name: str
    cells: dict[str, Figure | None]


class Sheet(BaseModel):
    """A table, with a note on how to read it; `differences` are the columns whose figures have a sign."""

    title: str
    note: str
    lines: list[Line]
    differences: list[str] = []


def sheets_of(part: Part, answers: Answers, *, seed: int) -> list[Sheet]:
    """All tables of a part, from the outcomes of its methods."""
    everything = list(TaskFile.open(part.test, kind="distributional").items(len(answers[VOTE])))
    commented = len(answers[COMMENT])
    named = [VOTE, ONE, COMMENT, "moe", "prompting", "vanilla"]
    same = {name: answers[name][:commented] for name in named}
    found = [_methods(_scored(everything[:commented], same, seed))]
    whole = _scored(everything, {name: each for name, each in answers.items() if name not in (COMMENT, "moe")}, seed)
    if commented < len(everything):
        found.append(_methods(whole, [VOTE, ONE, "prompting", "vanilla"]))
    owners = [part.belongs(item.attribute) for item in everything if isinstance(item, OptionItem)]
    masks = {name: np.array([owner == name for owner in owners]) for name in part.describe}
    return [*found, _matrix(whole, masks), _own(whole, masks), _patches(whole, masks)]


def _scored(items: Sequence[Item], answers: Answers, seed: int) -> ScoredMethods:
    return ScoredMethods(
        "distributional",
        lambda: iter(items),
        lambda name: iter(answers[name]),
        list(answers),
        seed=seed,
        resamples=RESAMPLES,
    )


def _methods(scored: ScoredMethods, names: Sequence[str] = ()) -> Sheet:
    columns = seen(main_measures("distributional", scored.methods, ties=scored.ties), scored.methods)
    shown = [each for each in columns if each.column.key in ("js", "js_label", "mass")]
    rows = {name: scores for name, scores in scored.methods.items() if name in (names or scored.methods)}
    lines = []
    for name, scores in (rows | scored.baselines).items():
        if name not in _TITLES:
            continue
        known = figures(scores, shown, scored.draw)
        cells = {each.column.title: known.get(each.column.key) for each in shown}
        if name != VOTE:
            cells[_AGAINST] = differences(scored.methods[VOTE], scores, [JS], scored.draw)["js"]
        lines.append(Line(name=_TITLES[name], cells=cells))
    return Sheet(
        title="Methods",
        note=f"{scored.count} items, {scored.questions.count} distinct questions. A difference below zero says "
        "that the pool's vote is nearer. The adapters have learnt to vote and not to write, so the figures of those "
        "who comment say nothing of communities that were trained on texts.",
        lines=lines,
        differences=[_AGAINST],
    )


def _matrix(scored: ScoredMethods, masks: dict[str, Mask]) -> Sheet:
    names = {f"modular only {name}": name for name in masks} | {VOTE: _TITLES[VOTE], ONE: ONE}
    lines = [
        Line(
            name=title,
            cells={
                column: figures(scored.methods[method], [JS], scored.draw, only=mask)["js"]
                for column, mask in masks.items()
                if mask.any()
            },
        )
        for method, title in [*names.items(), ("prompting", "prompting"), ("vanilla", "vanilla")]
    ]
    uniform = scored.baselines["uniform"]
    lines.append(
        Line(
            name="*uniform*",
            cells={
                column: figures(uniform, [JS], scored.draw, only=mask)["js"]
                for column, mask in masks.items()
                if mask.any()
            },
        )
    )
    return Sheet(
        title="Each community on everybody's questions",
        note="Rows: whose adapter votes, alone. Columns: whose answers are predicted ("
        + ", ".join(f"{name} {int(mask.sum())} items" for name, mask in masks.items())
        + "). JS distance.",
        lines=lines,
    )


def _own(scored: ScoredMethods, masks: dict[str, Mask]) -> Sheet:
    lines = []
    for name, mask in masks.items():
        if not mask.any():
            continue
        own = scored.methods[f"modular only {name}"]
        cells: dict[str, Figure | None] = dict.fromkeys(masks)
        against = {f"modular only {other}": other for other in masks if other != name}
        for method, title in [*against.items(), (VOTE, _TITLES[VOTE]), (ONE, ONE)]:
            cells[title] = differences(own, scored.methods[method], [JS], scored.draw, only=mask)["js"]
        lines.append(Line(name=name, cells=cells))
    return Sheet(
        title="Each community on its own people, against the others",
        note="Rows: whose answers are predicted. JS distance of their own adapter minus that of the column's; below "
        "zero, their own is nearer.",
        lines=lines,
        differences=[*masks, _TITLES[VOTE], ONE],
    )


def _patches(scored: ScoredMethods, masks: dict[str, Mask]) -> Sheet:
    lines = []
    for name, mask in masks.items():
        if not mask.any():
            continue
        part = scored.methods[f"modular without {name}"]
        cells: dict[str, Figure | None] = {}
        for heading, chosen in (("its own items", mask), ("others", ~mask)):
            cells[f"{heading}, without"] = figures(part, [JS], scored.draw, only=chosen)["js"]
            change = differences(scored.methods[VOTE], part, [JS], scored.draw, only=chosen)["js"]
            cells[f"{heading}, change"] = change
        lines.append(Line(name=name, cells=cells))
    return Sheet(
        title="Patching: the pool of the others, and what adding the community changes",
        note="JS distance without it, and the paired change when it is added; below zero, it helps.",
        lines=lines,
        differences=[f"{heading}, change" for heading in ("its own items", "others")],
    )


def markdown(sheets: Iterable[Sheet]) -> str:
    """The tables as Markdown; a difference whose interval excludes zero is bold, and the text says so."""
    note = (
        "In brackets are 95 % bootstrap intervals over questions. A difference is bold where its interval excludes "
        f"zero over at least {CLEAR_FROM} questions; of many differences, one in twenty does so by chance."
    )
    return "\n\n".join([note, *(sheet_text(sheet) for sheet in sheets)]) + "\n"


def sheet_text(sheet: Sheet) -> str:
    """A table as Markdown, under its title and its note."""
    columns = list(dict.fromkeys(column for line in sheet.lines for column in line.cells))
    head = ["", *columns]
    rows = [
        [line.name, *(_text(line.cells.get(each), "+" if each in sheet.differences else "") for each in columns)]
        for line in sheet.lines
    ]
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return f"### {sheet.title}\n\n{sheet.note}\n\n" + "\n".join(lines)


def _text(figure: Figure | None, sign: str) -> str:
    if figure is None or figure.value is None:
        return "–"
    value, *ends = (
        f"{each:{sign}.3f}".replace("-", "−") for each in (figure.value, figure.low, figure.high) if each is not None
    )
    value = f"**{value}**" if figure.clear else value
    return f"{value} ({ends[0]} to {ends[1]})" if ends else value


def write_tables(out: Path, parts: dict[str, list[Sheet]], heads: dict[str, str]) -> tuple[Path, Path]:
    """Write all tables as tables.md and tables.json."""
    text = "\n".join(f"## {heads[name]}\n\n{markdown(sheets)}" for name, sheets in parts.items())
    as_markdown, as_json = out / "tables.md", out / "tables.json"
    as_markdown.write_text(text, encoding="utf-8")
    told = ",\n".join(
        f'"{name}": [' + ",\n".join(sheet.model_dump_json(indent=1) for sheet in sheets) + "]"
        for name, sheets in parts.items()
    )
    as_json.write_text("{" + told + "}\n", encoding="utf-8")
    return as_markdown, as_json
