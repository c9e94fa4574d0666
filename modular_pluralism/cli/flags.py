"""Errors in a question or a setting, with the flag that mends them: who asks in Python knows no flags, so the errors
themselves name none."""

from __future__ import annotations

import re

_ATTRIBUTE, _OPTION = "Give it with --attribute.", "Give each with --option."

_MENDED: tuple[tuple[str, str], ...] = (
    ("This question needs an attribute", _ATTRIBUTE),
    ("The attribute is", "See --attribute."),
    (r"\w+ mode takes no attribute", "See --attribute and --mode."),
    (r"\w+ mode takes no options", "See --option and --mode."),
    ("There must be at least two options", _OPTION),
    ("There are \\S+ options, and only", "See --option."),
    (r"Option \d+( is|,)", "See --option."),
    ("The seed is", "See --seed."),
    ("There is no mode", "See --mode."),
    ("There is no scoring", "See --score."),
    ("There is no voice", "See --voice."),
    ("There is no rule to choose by", "See --choose."),
    ("There is no way to normalise", "See --normalise."),
    (r"\w+ mode chooses among no answers", "See --choose, --contract and --mode."),
    ("The rounds are", "See --rounds."),
    ("Here an attribute only says", "See --contract and --attribute."),
    ("The voice .* is for .* mode", "See --voice and --mode."),
    ("Prompts are tried with the voice comment", "See --voice."),
    (".* names no entailment measure", "See --nli."),
    ("The pool has no model .* to reflect with", "See --reflect."),
    ("The pool has no model .* to judge with", "See --judge and --nli."),
    ("The pool has no embedded model", "See --pool."),
    ("This task has no measure", "See --measure."),
    ("There is no method to evaluate", "See --method."),
    ("The method .* does not use .* on this task", "See --method."),
    ("The pool has no community", "See --without and --only."),
    ("Without .* no community would be left", "See --without and --pool."),
    ("The pool .* has no community .* to add", "See --add and --pool."),
    ("The pool has a single community", "See --pool."),
    ("Half of the questions are held back|No item is left to fit", "See --limit."),
    ("The variant .* is given twice", "See --variant."),
    (".* is .* already; name another format", "See --format."),
    ("Runs are kept in a file or in Postgres", "See --store."),
)
"""How a sentence begins, and what is said behind it."""

_PLACE = r"(?:[^\n]*, line \d+: )?"
"""Where in a file the error is."""


def with_flag(message: str) -> str:
    """The message; where it names no flag and one mends what it tells, with a sentence that names that."""
    if "--" in message:
        return message
    told = next((said for begins, said in _MENDED if re.match(f"{_PLACE}(?:{begins})", message, re.DOTALL)), None)
    return message if told is None else f"{message} {told}"
