"""Assembly: a community judges the candidates, by the probability of each as the one that serves it best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modular_pluralism.errors import ContextOverflowError, DeadlineError, ModelCallError
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.comment import Speaker, failure
from modular_pluralism.nodes.draft import written_candidates
from modular_pluralism.nodes.read_options import OrderReadings, Prompt, read_orders
from modular_pluralism.nodes.render import fill, one_line, option_lines, with_persona
from modular_pluralism.nodes.step import Body, QuestionParts, State, Steps, derive_seed, step_maker
from modular_pluralism.option_math import mean_over_rotations, rotations, spread_over_rotations
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Ballot


def _prompts(_: QuestionParts, arguments: Mapping[str, Any]) -> Sequence[str]:
    return ["prefer" if arguments["by_itself"] else "score", "option"]


@step_maker(prompts=_prompts)
def judge(
    community: Speaker,
    models: PoolModels,
    prompts: PromptSet,
    *,
    drafts: Sequence[str],
    samples: int,
    most_characters: int,
    by_itself: bool = True,
) -> Body:
    """Step that writes `ballots[community]`, a list of one `Ballot` for each of the candidates called as in `drafts`.

    The candidates stand as lettered options, in all rotations, since judges favour a place: a score is the mean share
    over the rotations, and its spread how far they are apart. All of them together are shown with `most_characters` at
    most; a ballot says where a candidate was cut for that, and where shares had to be estimated from sampled replies.

    A community that takes no messages cannot judge `by_itself`: the base LLM then reads in its comment what it would
    choose, which the ballot says, too.

    A community that has failed is passed over, and so is everybody where there are fewer than two candidates. One that
    fails here gets the error to its comment, and so counts as missing.
    """

    def step(state: State) -> Steps:
        name = community.name
        said = state["comments"].get(name)
        texts = written_candidates(state, drafts)
        if said is None or said["error"] is not None or len(texts) < 2:
            return {}
        # Opened outside the reading, so that a pool that cannot work ends the run and does not pass for a silent one.
        model = models.community(name) if by_itself else models.base()
        shown = cut_to_fit(list(texts.values()), most_characters)
        persona = community.persona if by_itself else None
        asked, comment = (prompts["prefer"], None) if by_itself else (prompts["score"], said)

        def lettered(order: Sequence[str]) -> Prompt:
            return with_persona(persona, fill(asked, state, comment, options=option_lines(prompts, order)))

        seed = derive_seed(state.get("seed") or 0, "judge", name)
        orders = rotations(len(shown))
        try:
            read = yield from read_orders(model, shown, orders, lettered, samples=samples, seed=seed)
        except (ModelCallError, DeadlineError, ContextOverflowError) as error:
            return failure(state, name, error)
        whole = [one_line(text) == short for text, short in zip(texts.values(), shown, strict=True)]
        notes = [_note(read, at, whole=whole[at], by_itself=by_itself) for at in range(len(shown))]
        return {"ballots": {name: _ballots(name, list(texts), read, notes)}}

    return step


def _ballots(member: str, candidates: Sequence[str], read: OrderReadings, notes: Sequence[str | None]) -> list[Ballot]:
    scores, spreads = mean_over_rotations(read.shares), spread_over_rotations(read.shares)
    return [
        Ballot(
            member=member,
            kind="community",
            candidate=candidate,
            rule=None,
            score=score,
            verdict=None,
            label_mass=sum(read.masses) / len(read.masses),
            spread=spread,
            reason=note,
            when=None,
        )
        for candidate, score, spread, note in zip(candidates, scores, spreads, notes, strict=True)
    ]


def _note(read: OrderReadings, at: int, *, whole: bool, by_itself: bool) -> str | None:
    """What has to be known of a score before it is trusted."""
    notes = []
    if not by_itself:
        notes.append("Read by the base LLM in the community's comment.")
    if read.samples is not None:
        notes.append(f"Estimated from {read.samples} sampled replies: the model reports no log-probabilities.")
    if at in read.unread:
        notes.append("In some order too improbable for the endpoint to report, and counted as 0 there.")
    if not whole:
        notes.append("Judged by its beginning, since all candidates together were too long.")
    return " ".join(notes) or None


def cut_to_fit(texts: Sequence[str], most: int) -> list[str]:
    """The texts on one line each, the longest of them cut, all at the same length, so that all have `most` characters
    together; a cut one ends with an ellipsis."""
    lines = [one_line(text) for text in texts]
    longest, room, left = most, most, len(lines)
    for length in sorted(map(len, lines)):
        if length * left > room:
            longest = room // left
            break
        room, left = room - length, left - 1
    return [line if len(line) <= longest else f"{line[: max(0, longest - 1)].rstrip()}…" for line in lines]
