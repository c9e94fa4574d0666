"""Putting questions, options and comments into prompts: as data, which cannot pass for a part of the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from modular_pluralism.nodes.citations import without_citations
from modular_pluralism.option_math import letters
from modular_pluralism.prompts import Prompt, PromptSet
from modular_pluralism.types import Comment, Turn


def one_line(text: str) -> str:
    """The text on a single line.

    Lists of comments and options tell their entries apart by how a line begins, so a text that stays on its own line
    cannot forge an entry.
    """
    return " ".join(text.split())


def quoted(text: str) -> str:
    """The text with every line behind "> ", or as it is where it is a single line.

    Headings of a prompt stand at the beginning of a line, so a text of several lines cannot forge one.
    """
    lines = text.strip().splitlines()
    return text.strip() if len(lines) < 2 else "\n".join(f"> {line}".rstrip() for line in lines)


def fill(
    prompt: Prompt, state: Mapping[str, Any], comment: Comment | None = None, *, above: str | None = None, **more: str
) -> list[BaseMessage]:
    """The prompt as messages, with what it takes of a question and of a comment on it; `more` is put in as it is, and
    `above` stands at the head of its first user message. What was said before the question stands before it."""
    values = {"question": quoted(state["question"]), **more}
    if "attribute" in prompt.variables:
        values["attribute"] = one_line(state["attribute"])
    if comment is not None:
        values["comment"] = one_line(without_citations(comment))
    rendered = prompt.render(**values)
    if above is not None:
        place = next(at for at, message in enumerate(rendered) if isinstance(message, HumanMessage))
        rendered[place] = HumanMessage(f"{above}\n\n{rendered[place].text}")
    before = [_SAID_BY[turn["role"]](turn["content"]) for turn in state.get("history") or ()]
    return _one_system([*before, *rendered]) if before else rendered


def turns_before(state: Mapping[str, Any]) -> list[Turn]:
    """What was said before the question, as plain values."""
    return [Turn(role=turn["role"], content=turn["content"]) for turn in state.get("history") or ()]


def with_persona(persona: str | None, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages below the persona, which is a system message; without a persona, as they are."""
    return list(messages) if persona is None else _one_system([SystemMessage(persona), *messages])


_SAID_BY = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}


def _one_system(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages with one system message at most, at their head: many chat templates take no other."""
    own = [str(message.text) for message in messages if isinstance(message, SystemMessage)]
    rest = [message for message in messages if not isinstance(message, SystemMessage)]
    return [SystemMessage("\n\n".join(own)), *rest] if own else rest


def option_lines(prompts: PromptSet, options: Sequence[str]) -> str:
    """The options, lettered, one a line."""
    prompt = prompts["option"]
    return "\n".join(
        prompt.render_text(label=label, option=one_line(option))
        for label, option in zip(letters(len(options)), options, strict=True)
    )


def plain_option_lines(prompts: PromptSet, options: Sequence[str]) -> str:
    """The options without letters, one a line: a small model that sees letters comments on the letters."""
    return "\n".join(prompts["plain_option"].render_text(option=one_line(option)) for option in options)


def comment_lines(prompts: PromptSet, comments: Sequence[Comment]) -> str:
    """The comments, numbered from 1, one a line."""
    prompt = prompts["numbered_comment"]
    return "\n".join(
        prompt.render_text(number=str(number), comment=one_line(without_citations(comment)))
        for number, comment in enumerate(comments, start=1)
    )


def expert_lines(prompts: PromptSet, descriptions: Sequence[str]) -> str:
    """The descriptions of communities, numbered from 1, one a line."""
    prompt = prompts["numbered_expert"]
    return "\n".join(
        prompt.render_text(number=str(number), description=one_line(description))
        for number, description in enumerate(descriptions, start=1)
    )
