"""What a community LM reads before everything else: its persona."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import BaseMessage, SystemMessage


def with_persona(persona: str | None, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages below the persona, which is a system message; without a persona, as they are."""
    if persona is None:
        return list(messages)
    # Many chat templates take one system message only: a prompt that has one of its own goes below the persona.
    own = [str(message.text) for message in messages if isinstance(message, SystemMessage)]
    rest = [message for message in messages if not isinstance(message, SystemMessage)]
    return [SystemMessage("\n\n".join([persona, *own])), *rest]
