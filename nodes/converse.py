"""A conversation around a mode: its last message is the question, and what comes out is the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages

from modular_pluralism.errors import InputError
from modular_pluralism.nodes.step import Body, State, Update, step_maker
from modular_pluralism.nodes.tools import as_tool_messages, text_of

_ROLES: Mapping[str, str] = {"human": "user", "ai": "assistant", "system": "system"}


@step_maker()
def listen(*, results: Sequence[str]) -> Body:
    """Step that writes `question`, `history` and `tool_messages`, from `messages`, and empties the `results` of the
    message before. The question is the last message of a person's; after it there may be calls of tools with what they
    returned, which are for the base LLM. Of earlier questions they are left out.

    Raises (in the step):
        InputError: there is no question, it is answered already, or it or a tool's result holds more than text.
    """

    def step(state: State) -> Update:
        messages: Sequence[BaseMessage] = state.get("messages") or []
        if not messages:
            raise InputError("The conversation is empty; give it messages, the question last.")
        asked = max((at for at, message in enumerate(messages) if message.type == "human"), default=-1)
        after = as_tool_messages(messages[asked + 1 :])
        if asked < 0:
            raise InputError("The conversation holds no question; add what is asked next.")
        before = [(_ROLES[each.type], text_of(each)) for each in messages[:asked] if each.type in _ROLES]
        history = [{"role": role, "content": text} for role, text in before if text.strip()]
        left = {key: None for key in results if state.get(key) is not None}
        return {**left, "question": text_of(messages[asked]), "history": history, "tool_messages": after or None}

    return step


@step_maker()
def reply(*, result: str) -> Body:
    """Step that adds the mode's `result`, "answer" with its calls of tools or "distribution", to `messages`."""

    def step(state: State) -> Update:
        if result == "answer":
            return {"messages": convert_to_messages([_message(state)])}
        shares = zip(state["options"], state[result], strict=True)
        return {"messages": [AIMessage("\n".join(f"{option}: {share:.1%}" for option, share in shares))]}

    return step


def _message(state: State) -> dict[str, object]:
    """The answer as OpenAI has it."""
    calls = {"tool_calls": state["tool_calls"]} if state.get("tool_calls") else {}
    return {"role": "assistant", "content": state["answer"], **calls}
