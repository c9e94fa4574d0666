"""What the four applications have in common: an answer from three communities on hosted models.

Each community comments on the question, its comment is checked for facts, and what is left is merged. One that cannot
answer is left out and named.
"""

from __future__ import annotations

from typing import TypedDict

QUESTION = "Should a city ban cars from its centre?"
PERSONAS = {
    "parents": "You speak for parents of small children. Answer in two sentences, as they would.",
    "shopkeepers": "You speak for the owners of small shops. Answer in two sentences, as they would.",
    "commuters": "You speak for people who drive to work every day. Answer in two sentences, as they would.",
}
CHECK = "Repeat this comment, and leave out what is plainly false: {comment}"
MERGE = "Question: {question}\nComments:\n{comments}\nWrite one answer that covers all of these views."


class Outcome(TypedDict):
    """What an application returns: the answer, the checked comments by community, and who could not answer."""

    answer: str
    comments: dict[str, str]
    missing: list[str]
