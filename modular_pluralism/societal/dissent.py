"""Dissent: the members whom a chosen candidate serves less than another, in their own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import TypedDict  # of `typing`'s, pydantic makes no schema before Python 3.12

from modular_pluralism.societal.tally import Tally
from modular_pluralism.types import Ballot, Comment


class Dissent(TypedDict):
    """A member that another candidate would have served better than the winner.

    `prefers` are the candidates that it scores highest, at `best`; `score` is what it gives the winner, both after
    normalising, and None where it has not judged that. `reasons` are those of its ballots on these candidates and, of a
    person, of what it contests, each once. `comment` is what it has said to the question before it judged, if anything.
    """

    member: str
    weight: float
    prefers: list[str]
    best: float
    score: float | None
    reasons: list[str]
    comment: str | None


def dissent(
    tally: Tally,
    ballots: Mapping[str, Sequence[Ballot]],
    comments: Mapping[str, Comment] | None = None,
    submissions: Sequence[Mapping[str, Any]] = (),
) -> list[Dissent]:
    """The members whose best candidate is not the winner, in the order of the table; members without a weight, too.

    A member that has not judged the winner dissents where it scores another above its own mean, which stands for it.

    Args:
        tally: What was chosen.
        ballots: By member.
        comments: By member.
        submissions: What people have submitted to a hearing.
    """
    names, chosen = tally["candidates"], tally["candidates"].index(tally["winner"])
    found = []
    for member, weight, given, used in zip(
        tally["members"], tally["weights"], tally["scores"], tally["used"], strict=True
    ):
        best = max(used)
        if used[chosen] == best:
            continue
        prefers = [
            name for name, score, there in zip(names, used, given, strict=True) if score == best and there is not None
        ]
        concerned = {*prefers, tally["winner"]}
        said = [
            each["reason"]
            for each in ballots.get(member, ())
            if each["rule"] is None and each["candidate"] in concerned and each["reason"]
        ]
        said += [each["reason"] for each in submissions if each["who"] == member and each["kind"] == "contest"]
        comment = (comments or {}).get(member)
        found.append(
            Dissent(
                member=member,
                weight=weight,
                prefers=prefers,
                best=best,
                score=None if given[chosen] is None else used[chosen],
                reasons=list(dict.fromkeys(said)),
                comment=None if comment is None or comment["error"] is not None else comment["text"],
            )
        )
    return found
