"""A stage of the application's own looks at a community's comment: a check of facts, a translation, moderation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modular_pluralism.errors import ContextOverflowError, DeadlineError, ModelCallError
from modular_pluralism.models.answerer import OwnPart
from modular_pluralism.models.calls import CallResult
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.citations import with_citations
from modular_pluralism.nodes.comment import failure
from modular_pluralism.nodes.own import heard_comment
from modular_pluralism.nodes.step import Body, State, Steps, step_maker
from modular_pluralism.types import Comment


@step_maker()
def after_comment(part: OwnPart, *, community: str) -> Body:
    """Step that writes `comments[community]` anew, as the part has it: the text is its, and what the comment has cost
    stays the community's. Where the part refuses the comment, it gets an error, and so the community is missing."""

    def step(state: State) -> Steps:
        given = heard_comment(state, community, part.place)
        try:
            outcome = yield ask.own(part, given)
            said = with_citations(_replaced(given["comment"], outcome, part.place))
        except (ModelCallError, DeadlineError, ContextOverflowError) as error:
            return failure(state, community, error)
        return {"comments": {community: said}}

    return step


def _replaced(comment: Comment, outcome: CallResult[Any], place: str) -> Comment:
    said = outcome.value
    if said is None:
        return comment
    if not isinstance(said, Mapping) or "text" not in said:
        return {**comment, "text": ask.own_reply(outcome, place)["text"]}
    text, error = said["text"], said.get("error")
    if not isinstance(text, str) or not (error is None or isinstance(error, str)):
        raise TypeError(
            f"{place} returned a comment whose text is {text!r} and whose error is {error!r}; both are texts."
        )
    if error is None and not text.strip():
        raise ModelCallError(f"{place} left nothing of the comment.")
    return {**comment, "text": text, "error": error}
