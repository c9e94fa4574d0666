"""Assembly: the ballots are counted, and a rule of social choice picks the answer (after section 4.2 of Stańczak et
al., arXiv 2503.00069)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from modular_pluralism.errors import InputError, ModelCallError
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.aggregate import Priors, weights_of
from modular_pluralism.nodes.draft import written_candidates
from modular_pluralism.nodes.quorum import attendance
from modular_pluralism.nodes.step import Body, State, Update, step_maker
from modular_pluralism.societal.table import table_of
from modular_pluralism.societal.tally import tally as counted
from modular_pluralism.societal.uncertainty import uncertainty
from modular_pluralism.types import Ballot, Candidate

_BALLOTS = TypeAdapter(list[Ballot])


@step_maker()
def tally(*, drafts: Sequence[str], communities: Sequence[str], priors: Priors, quorum: int) -> Body:
    """Step that writes `answer`, `tally`, `uncertainty`, `usage` and `missing`.

    The members' weights are the question's or the pool's priors. Where there is only one candidate, it is the answer,
    and `tally` and `uncertainty` are None: nothing was chosen.

    Raises (in the step):
        QuorumError: too few communities have judged.
        ModelCallError: no candidate could be written.
        InputError: the ballots in the state are none, or nobody that gave some has a weight.
    """

    def step(state: State) -> Update:
        missing = attendance(state, communities, quorum).missing
        present = [name for name in communities if name not in missing]
        texts = written_candidates(state, drafts)
        if not texts:
            raise ModelCallError(_no_draft(state, drafts))
        ballots = [ballot for name in present for ballot in _ballots_of(state, name)]
        if len(texts) < 2:
            (only,) = texts
            return {**_answer(state, only), "tally": None, "uncertainty": None, "missing": missing}
        table = table_of(ballots, candidates=list(texts), weights=weights_of(state, priors))
        rule, normalise = state.get("choose") or "nash", state.get("normalise") or "none"
        result = counted(table, rule, normalise)
        return {
            **_answer(state, result["winner"]),
            "tally": result,
            "uncertainty": uncertainty(table, ballots),
            "missing": missing,
        }

    return step


def _answer(state: State, chosen: str) -> Update:
    candidate = cast(Candidate, state["candidates"][chosen])
    return {"answer": candidate["text"], "usage": ask.usage(candidate)}


def _no_draft(state: State, drafts: Sequence[str]) -> str:
    written: Mapping[str, Any] = state.get("candidates") or {}
    reasons = " ".join(f"{name}: {written[name]['error']}" for name in drafts if name in written)
    return f"No draft could be written, so there is nothing to choose. {reasons}"


def _ballots_of(state: State, member: str) -> list[Ballot]:
    """A member's ballots.

    Raises:
        InputError: they are none: people may edit a state.
    """
    given = (state.get("ballots") or {}).get(member)
    try:
        return _BALLOTS.validate_python([] if given is None else given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"The ballots of {member} in the state are none ({where}: {first['msg']}); write a list with all parts of "
            "each ballot, or ask anew."
        ) from None
