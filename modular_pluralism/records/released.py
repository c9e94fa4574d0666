"""Survey data as others release it, turned into the rows that `survey_items` reads.

- GlobalOpinionQA (Durmus et al., 2023): a row a question, `options` as the text of a list, and `selections` as that of
  a dict: by country, the shares of the options.
- SubPOP (Suh et al., 2025): a row for each question and group, with `options`, `responses` (their shares), `attribute`
  (such as RELIG) and `group`.
- OpinionQA (Santurkar et al., 2023): a JSON file for each attribute, `RELIG_data.json`, in which each question has the
  counts of the options by group.

Those who refused to answer are left out, and shares that were rounded sum to 1 again.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from modular_pluralism.errors import TrainingDataError

_REFUSED = "refused"
_ROUNDED = 0.1
"""How far from 1 the sum of rounded shares may be."""
_OPINION_QA_FILE = "_data.json"


def released_rows(row: Mapping[str, Any], source: str) -> Iterator[dict[str, Any]]:
    """The rows that a row of GlobalOpinionQA or SubPOP stands for; any other is given back as it is.

    Raises:
        TrainingDataError: it is a row of theirs that cannot be read; names it.
    """
    if {"question", "options", "selections"} <= row.keys():
        yield from _global_opinion_qa(row, source)
    elif {"question", "options", "responses", "attribute", "group"} <= row.keys():
        yield _subpop(row, source)
    else:
        yield dict(row)


def is_opinion_qa(file: str, data: Any) -> bool:
    """Whether what a JSON file of this name holds are OpinionQA's answers by one attribute."""
    return (
        file.endswith(_OPINION_QA_FILE)
        and isinstance(data, dict)
        and bool(data)
        and all(isinstance(entry, dict) and "question_text" in entry for entry in data.values())
    )


def opinion_qa_rows(file: str, data: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for each question and group of such a file; groups that nobody was in have none.

    Raises:
        TrainingDataError: a question's counts cannot be read; names it.
    """
    attribute = file.removesuffix(_OPINION_QA_FILE)
    for key, entry in data.items():
        source = f"{file}, question {str(key)[:60]}"
        counts = {name: _numbers(votes, source) for name, votes in entry.items() if isinstance(votes, dict)}
        options = _options_of(entry, counts)
        for group, votes in counts.items():
            if len(options) > 1 and any(votes.get(option) for option in options):
                shares = _shares([votes.get(option, 0.0) for option in options])
                yield {
                    "question": entry["question_text"],
                    "options": options,
                    "distribution": shares,
                    "attribute": f"{attribute}_{group}",
                }


def _options_of(entry: Mapping[str, Any], counts: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The options in the release's order, where it lists those that were counted: it cuts them at their commas."""
    counted = dict.fromkeys(option for votes in counts.values() for option in votes)
    listed = entry.get("MC_options")
    names = [str(option) for option in listed] if isinstance(listed, list) else []
    chosen = names if counted.keys() <= set(names) else list(counted)
    return [option for option in chosen if option.strip().lower() != _REFUSED]


def _global_opinion_qa(row: Mapping[str, Any], source: str) -> Iterator[dict[str, Any]]:
    options = [str(option) for option in _list(row["options"], "options", source)]
    for country, shares in _selections(row["selections"], source).items():
        yield {
            "question": row["question"],
            "options": options,
            "distribution": _rounded(shares, len(options), f"{source}, {country}"),
            "attribute": country,
        }


def _selections(value: Any, source: str) -> dict[str, Any]:
    """The dict in a text such as "defaultdict(<class 'list'>, {'Spain': [0.2, 0.8]})"."""
    text = str(value)
    read = value if isinstance(value, dict) else _literal(text[text.find("{") : text.rfind("}") + 1])
    if not (isinstance(read, dict) and read and all(isinstance(name, str) for name in read)):
        raise TrainingDataError(
            f"{source}: selections is no dict of countries with their shares; take the release's own file."
        )
    return read


def _subpop(row: Mapping[str, Any], source: str) -> dict[str, Any]:
    options = [str(option) for option in _list(row["options"], "options", source)]
    shares = _list(row["responses"], "responses", source)
    if len(options) == len(shares) + 1 and options[-1].strip().lower() == _REFUSED:
        del options[-1]
    return {
        "question": row["question"],
        "options": options,
        "distribution": _rounded(shares, len(options), source),
        "attribute": f"{row['attribute']}_{row['group']}",
    }


def _rounded(shares: Any, count: int, source: str) -> list[float]:
    if not isinstance(shares, list) or len(shares) != count:
        raise TrainingDataError(f"{source}: there are not {count} shares for {count} options; correct the row.")
    numbers = [_number(share, source) for share in shares]
    if abs(math.fsum(numbers) - 1) > _ROUNDED:
        raise TrainingDataError(f"{source}: the shares sum to {math.fsum(numbers):.4g}, and not to 1; correct the row.")
    return _shares(numbers)


def _shares(numbers: list[float]) -> list[float]:
    total = math.fsum(numbers)
    return [number / total for number in numbers]


def _numbers(votes: Mapping[str, Any], source: str) -> dict[str, float]:
    return {str(option): _number(count, source) for option, count in votes.items()}


def _number(value: Any, source: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    raise TrainingDataError(f"{source}: {str(value)[:40]!r} is no share or count of at least 0; correct it.")


def _list(value: Any, field: str, source: str) -> list[Any]:
    """A list, or the text of one as Python or JSON writes it."""
    read = _literal(value) if isinstance(value, str) else value
    if not isinstance(read, list):
        raise TrainingDataError(f"{source}: there is no list under {field!r}; take the release's own file.")
    return read


def _literal(text: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None
