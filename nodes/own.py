"""Stages that an application brings in the place of a built-in one, or beside them: what they are, and how asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import isawaitable, iscoroutinefunction
from typing import Any, TypeAlias, cast, get_args

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from modular_pluralism.checked import shown
from modular_pluralism.errors import InputError
from modular_pluralism.models.answerer import OwnPart
from modular_pluralism.nodes.noted import plain_update
from modular_pluralism.nodes.quorum import Attendance
from modular_pluralism.nodes.render import turns_before
from modular_pluralism.nodes.step import State, derive_seed
from modular_pluralism.types import Comment, Heard, HeardComment, HeardQuestion, HeardSelected, Pooling

_Made: TypeAlias = Runnable[Any, Any] | Mapping[str, Any]
"""What LangChain makes a runnable of besides functions: a dict of runnables and functions is one that asks each."""

Merge: TypeAlias = _Made | Callable[[Heard], object] | Callable[[Heard, RunnableConfig], object]
"""Makes one answer of the comments: a function, an async function, a chain or a graph that is asked with a `Heard`, and
returns a text, a message, or a state whose `messages` end with it."""

Selector: TypeAlias = _Made | Callable[[Heard], object] | Callable[[Heard, RunnableConfig], object]
"""Selects a comment: asked with a `Heard`, it returns a community's name, or a weight for every community's name, of
which the largest is selected."""

Respond: TypeAlias = _Made | Callable[[HeardSelected], object] | Callable[[HeardSelected, RunnableConfig], object]
"""Answers in the light of the selected comment: asked with a `HeardSelected`, it returns what a `Merge` does; where the
question has options, the text is one of them."""

CommentStage: TypeAlias = _Made | Callable[[HeardComment], object] | Callable[[HeardComment, RunnableConfig], object]
"""Looks at one community's comment, in that community's branch: asked with a `HeardComment`, it returns a text, a
message, a state with messages, or a `Comment` in the comment's place, and None to leave it as it is. Where it raises
ModelCallError, or returns a comment with an `error`, the community is missing, with that as the reason."""

PoolingFunction: TypeAlias = Callable[[Mapping[str, Sequence[float]], Mapping[str, float]], object]
"""Pools distributions: it is given every community's, and the communities' weights, which sum to 1, both by name and in
the pool's order, and returns one distribution in the order of the options. It may be a coroutine function."""


def pooling_part(own: PoolingFunction) -> OwnPart:
    """The part that asks a pooling function, with its two arguments.

    Raises:
        InputError: it is none.
    """
    if not callable(own):
        raise InputError(f"The pooling is {shown(own)}; give a function, or one of {', '.join(get_args(Pooling))}.")

    def pool(given: Mapping[str, Any]) -> object:
        return own(given["distributions"], given["weights"])

    async def apool(given: Mapping[str, Any]) -> object:
        said = own(given["distributions"], given["weights"])
        return await said if isawaitable(said) else said

    runs = RunnableLambda(apool) if iscoroutinefunction(own) else RunnableLambda(pool, apool)
    return OwnPart("pooling", runs, own)


def heard(state: State, present: Attendance, stage: str) -> Heard:
    """What the stage of that name is asked with."""
    comments = [cast(Comment, plain_update(comment)) for comment in present.comments]
    return {**_question(state, stage), "comments": comments, "missing": present.missing}


def heard_selected(state: State, present: Attendance, selected: Comment) -> HeardSelected:
    """What a stage is asked with that answers in the light of the selected comment."""
    return {**heard(state, present, "respond"), "selected": cast(Comment, plain_update(selected))}


def heard_comment(state: State, community: str, stage: str) -> HeardComment:
    """What a stage is asked with that looks at that community's comment."""
    comment = cast(Comment, plain_update(state["comments"][community]))
    return {**_question(state, stage, community), "comment": comment}


def _question(state: State, *stage: str) -> HeardQuestion:
    options = state.get("options")
    return {
        "question": state["question"],
        "attribute": state.get("attribute"),
        "options": list(options) if options else None,
        "history": turns_before(state),
        "seed": derive_seed(state.get("seed") or 0, *stage),
    }
