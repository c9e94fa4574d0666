"""A conversation around a mode: its last message is the question, and what comes out is the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from langchain_core.messages import AIMessage, BaseMessage

from modular_pluralism.errors import InputError
from modular_pluralism.nodes.step import Body, State, Update, step_maker

_ROLES: Mapping[str, str] = {"human": "user", "ai": "assistant", "system": "system"}


@step_maker()
def listen(*, results: Sequence[str]) -> Body:
    """Step that writes `question` and `history`, from `messages`, and empties the `results` of the message before.

    Calls of tools and what they returned are left out: communities are told what people and assistants have said.

    Raises (in the step):
        InputError: the last message is nobody's question.
    """

    def step(state: State) -> Update:
        messages: Sequence[BaseMessage] = state.get("messages") or []
        if not messages:
            raise InputError("The conversation is empty; give it messages, the question last.")
        if messages[-1].type != "human":
            raise InputError(
                f"The conversation ends with a message of the type {messages[-1].type!r}; add what is asked next."
            )
        history = [
            {"role": _ROLES[message.type], "content": str(message.text)}
            for message in messages[:-1]
            if message.type in _ROLES and message.text.strip()
        ]
        left = {key: None for key in results if state.get(key) is not None}
        return {**left, "question": str(messages[-1].text), "history": history}

    return step


@step_maker()
def reply(*, result: str) -> Body:
    """Step that adds the mode's `result`, "answer" or "distribution", to `messages`."""

    def step(state: State) -> Update:
        if result == "answer":
            return {"messages": [AIMessage(state["answer"])]}
        shares = zip(state["options"], state[result], strict=True)
        return {"messages": [AIMessage("\n".join(f"{option}: {share:.1%}" for option, share in shares))]}

    return step
