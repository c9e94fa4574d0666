"""Results of trials and searches as Markdown; texts of models and files stand in it as text, whatever they hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modular_pluralism.evaluation.report.figure_text import FigureText, table_texts
from modular_pluralism.evaluation.report.folder import write_json, write_text
from modular_pluralism.evaluation.report.plain_text import fact_text, plain_text
from modular_pluralism.evaluation.statistics.results import ResultModel, Results, Table
from modular_pluralism.option_math import letters
from modular_pluralism.prompt_trials.result_models import (
    ChangedItem,
    ItemAnswer,
    SearchResult,
    TrialResult,
    TriedText,
    calls_sentence,
    search_sentence,
)


def trial_markdown(result: TrialResult) -> str:
    """The whole trial as one document."""
    parts = [
        f"# {inline(result.results.title)}",
        *(f"**{inline(each.sentence)}**" for each in result.variants),
        inline(calls_sentence(result)),
        *warnings(result.results),
        *(part for table in result.results.tables for part in table_parts(table)),
        *_items(result.items),
        *facts("How it was run", result.facts),
    ]
    return "\n\n".join(parts) + "\n"


def search_markdown(result: SearchResult) -> str:
    """The whole search as one document."""
    parts = [
        f"# {inline(result.results.title)}",
        f"**{inline(result.sentence)}**",
        inline(search_sentence(result)),
        *warnings(result.results),
        *(part for table in result.results.tables for part in table_parts(table)),
        "## Texts that were tried on all training items",
        *(part for place, text in enumerate(result.texts) for part in _text(place, text)),
        *_refused(result.reasons),
        *facts("How it was run", {**result.results.task, **result.results.run}),
    ]
    return "\n\n".join(parts) + "\n"


def write_report(folder: Path, result: ResultModel, markdown: str, name: str) -> list[Path]:
    """Write NAME.json and NAME.md; each appears whole or not at all.

    Raises:
        EvaluationError: a file cannot be written.
    """
    document = folder / f"{name}.md"
    write_text(document, markdown)
    return [write_json(folder / f"{name}.json", result), document]


def _text(place: int, text: TriedText) -> Iterable[str]:
    origin = "the built-in text" if text.parent is None else f"from text {text.parent}"
    yield f"### Text {place}: {origin}, mean score {text.merit:.4f} on the training items"
    yield quoted(text.text)


def _refused(reasons: Mapping[str, int]) -> Iterable[str]:
    if reasons:
        yield "## Replies that could not be used"
        yield "\n".join(f"- {count} times: {inline(reason)}" for reason, count in reasons.items())


def warnings(results: Results) -> list[str]:
    """The warnings as one quotation."""
    return ["\n".join(f"> {inline(each)}  " for each in results.warnings)] if results.warnings else []


def table_parts(table: Table) -> list[str]:
    """A heading, the table, and its note."""
    texts = table_texts(table)
    head = ["", *(inline(column.title) for column in table.columns)]
    rows = [[inline(row.name), *(_cell(text) for text in cells)] for row, cells in zip(table.rows, texts, strict=True)]
    lines = [_line(head), _line(["---"] * len(head)), *map(_line, rows)]
    return [f"## {inline(table.title)}", "\n".join(lines), *([inline(table.note)] if table.note else [])]


def facts(title: str, known: Mapping[str, Any]) -> list[str]:
    """Names and values as a list."""
    return [
        f"## {title}",
        "\n".join(f"- {inline(str(name))}: {inline(fact_text(value))}" for name, value in known.items()),
    ]


def quoted(text: str) -> str:
    """A text as it stands, in a block that nothing in it can end."""
    text = plain_text(text).rstrip("\n")
    longest = max((len(ticks) for ticks in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def inline(text: str) -> str:
    """A text on one line in which nothing is Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>|#~&])", r"\\\1", " ".join(plain_text(text).split()))


def _items(items: Sequence[ChangedItem]) -> Iterable[str]:
    if not items:
        return
    yield "## Items that changed most"
    for item in items:
        told = f", {inline(item.attribute)}" if item.attribute else ""
        yield (
            f"### {inline(item.variant)}, item {inline(str(item.id))}{told}: {inline(item.measure)} {item.change:+.3f}"
        )
        yield quoted(item.question)
        yield from _sides(item)


def _sides(item: ChangedItem) -> Iterable[str]:
    sides: tuple[tuple[str, ItemAnswer], ...] = (("built-in", item.built_in), (item.variant, item.other))
    if item.options:
        rows = [["", *(["real"] if item.gold else []), *(inline(name) for name, _ in sides)]]
        rows.append(["---"] * len(rows[0]))
        for place, (letter, option) in enumerate(zip(letters(len(item.options)), item.options, strict=True)):
            shares = [*([item.gold] if item.gold else []), *(side.predicted or [] for _, side in sides)]
            cells = [f"{each[place]:.3f}" if each else "–" for each in shares]
            rows.append([f"{letter}. {inline(option)}", *cells])
        yield "\n".join(map(_line, rows))
    else:
        for name, side in sides:
            yield f"{inline(name)}:"
            yield quoted(side.answer or side.error or "")


def _cell(text: FigureText | None) -> str:
    if text is None:
        return ""
    value = f"**{text.value}**" if text.clear else text.value
    return " ".join(
        part for part in (value, text.interval.replace("[", "\\[").replace("]", "\\]"), f"n={text.n}") if part
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
