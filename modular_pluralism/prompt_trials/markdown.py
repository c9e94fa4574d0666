"""Results of trials and searches as Markdown; texts of models and files stand in it as text, whatever they hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from modular_pluralism.evaluation.report.figure_text import table_texts
from modular_pluralism.evaluation.report.folder import write_json, write_text
from modular_pluralism.evaluation.report.plain_text import fact_text, inline, plain_text
from modular_pluralism.option_math import letters
from modular_pluralism.prompt_trials.result_models import SearchResult, TrialResult, calls_sentence, search_sentence


def trial_markdown(result: TrialResult) -> str:
    """The whole trial as one document."""
    return _document("trial", result, [each.sentence for each in result.variants], calls_sentence(result.calls))


def search_markdown(result: SearchResult) -> str:
    """The whole search as one document."""
    return _document("search", result, [result.sentence], search_sentence(result))


def write_report(folder: Path, result: TrialResult | SearchResult, markdown: str, name: str) -> list[Path]:
    """Write NAME.json and NAME.md; each appears whole or not at all.

    Raises:
        EvaluationError: a file cannot be written.
    """
    document = folder / f"{name}.md"
    write_text(document, markdown)
    return [write_json(folder / f"{name}.json", result), document]


def quoted(text: str) -> str:
    """A text as it stands, in a block that nothing in it can end."""
    text = plain_text(text).rstrip("\n")
    longest = max((len(ticks) for ticks in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _document(name: str, result: TrialResult | SearchResult, sentences: Sequence[str], calls: str) -> str:
    environment = Environment(
        loader=PackageLoader(__package__, "."), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "fact": fact_text,
        "inline": inline,
        "letters": letters,
        "quoted": quoted,
        "texts": table_texts,
    }
    text = environment.get_template(f"{name}.md.jinja").render(result=result, sentences=sentences, calls=calls)
    return text.strip("\n") + "\n"
