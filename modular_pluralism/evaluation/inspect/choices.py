"""The question and its options, taken out of what Inspect's multiple choice solver makes of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from inspect_ai.model import ChatMessage
from inspect_ai.solver import MultipleChoiceTemplate

from modular_pluralism.errors import InputError
from modular_pluralism.nodes.render import one_line, quoted
from modular_pluralism.option_math import letters

_LETTERED = re.compile(r"^([A-Z])\)(?:[ \t]+|$)", re.MULTILINE)
"""How Inspect's multiple choice solver begins an option."""
_GAP = re.compile(r"\n[ \t]*\n|\s*\Z")
_EMPTY = "(empty)"
"""Stands for an option without a text, which has a letter all the same."""


def conversation(texts: Sequence[tuple[str, str]]) -> str:
    """Messages, each a role and a text, as one text, in which no message can begin another: roles stand at the
    beginning of a line, and a text of several lines stands behind "> " there, as `quoted` has it."""
    return texts[0][1] if len(texts) == 1 else "\n\n".join(f"{role}: {_turn(text)}" for role, text in texts)


def _turn(text: str) -> str:
    lines = quoted(text)
    return f"\n{lines}" if "\n" in lines else lines


def asked_in(messages: Sequence[ChatMessage], choices: Sequence[str]) -> tuple[str, list[str]]:
    """The question of a conversation and its options, without the instructions of Inspect's own templates.

    `choices` are those of the sample, in the order in which they are asked; their exact lines are looked for, last
    message first. Where they are not there, options are what `take_options` finds. More choices than there are letters
    are found by the first ones, and are for the run to refuse.

    Raises:
        InputError: several options may be right.
    """
    texts = [(message.role, message.text) for message in messages]
    block = "\n".join(f"{letter}) {choice}" for letter, choice in zip(letters(len(choices)), choices, strict=False))
    if len(choices) > 1:
        for place, (role, text) in reversed(list(enumerate(texts))):
            before, found, after = text.rpartition(block)
            if found:
                texts[place] = (role, _without_instructions(f"{before}{after}".strip(), len(choices)))
                return conversation(texts), _worded(choices)
    for place, (role, text) in reversed(list(enumerate(texts))):
        without, options = take_options(text)
        if options:
            texts[place] = (role, _without_instructions(without, len(options)))
            return conversation(texts), options
    return conversation(texts), []


def take_options(text: str) -> tuple[str, list[str]]:
    """The text without its last lines "A) …", "B) …", and the options that these list; none unless they run from A.

    An option reaches to the next letter, and the last one to the next empty line.
    """
    matches = list(_LETTERED.finditer(text))
    start = max((place for place, match in enumerate(matches) if match[1] == "A"), default=len(matches))
    matches = matches[start:]
    if len(matches) < 2 or "".join(match[1] for match in matches) != letters(len(matches)):
        return text, []
    gap = _GAP.search(text, matches[-1].end())
    end = gap.start() if gap else len(text)
    ends = [*(match.start() for match in matches[1:]), end]
    options = [text[match.end() : stop].strip() for match, stop in zip(matches, ends, strict=True)]
    return (text[: matches[0].start()] + text[end:]).strip(), _worded(options)


def _worded(options: Sequence[str]) -> list[str]:
    return [option if one_line(option) else _EMPTY for option in options]


def _without_instructions(question: str, count: int) -> str:
    for template in MultipleChoiceTemplate:
        instructions = template.value.partition("{question}")[0].format(letters=",".join(letters(count)))
        if question.startswith(instructions):
            if template.name.startswith("MULTIPLE"):
                raise InputError("A pool picks one option; run a task without multiple_correct.")
            return question[len(instructions) :].strip()
    return question
