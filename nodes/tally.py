"""Assembly: the ballots are counted, and a rule of social choice picks the answer (after section 4.2 of Stańczak et
al., arXiv 2503.00069), among those that break the fewest rules of a contract that are a must."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from pydantic import TypeAdapter, ValidationError

from modular_pluralism.errors import InputError, ModelCallError
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.aggregate import Priors, weights_of
from modular_pluralism.nodes.draft import written_candidates
from modular_pluralism.nodes.quorum import attendance
from modular_pluralism.nodes.step import Body, State, Update, step_maker
from modular_pluralism.nodes.under_contract import VERIFY, rules_of
from modular_pluralism.societal.in_place import put_in_place
from modular_pluralism.societal.standing import Judged, Standing, refused_repair, standing
from modular_pluralism.societal.table import Table
from modular_pluralism.societal.tally import tally as counted
from modular_pluralism.societal.uncertainty import uncertainty
from modular_pluralism.types import Ballot, Candidate, Repair

_BALLOTS = TypeAdapter(list[Ballot])
ROUNDS = 2
"""In so many rounds an answer is mended that breaks its contract, where nobody says how many."""


@step_maker()
def tally(*, drafts: Sequence[str], communities: Sequence[str], priors: Priors, quorum: int) -> Body:
    """Step that writes `answer`, `candidate` (which of them that is), `tally`, `uncertainty`, `usage` and `missing`;
    under a contract also `standing`, `status`, `repairs` and `rounds_left`.

    The members' weights are the question's or the pool's priors, or what a hearing has made of them; `waits` is whether
    people are to be heard now. Under a contract the rule chooses among the candidates
    that break the fewest musts, and every member's score of a candidate is weighed by how far that keeps the shoulds. A
    repair that is written takes the place of what it mends, or is refused. While the answer breaks a must, and there
    are rounds left, `rounds_left` is above 0.

    Where there is nothing to choose between, `tally` and `uncertainty` are None: the only candidate is the answer, and
    has not been chosen.

    Raises (in the step):
        QuorumError: too few communities have judged.
        ModelCallError: no candidate could be written.
        ContractError, InputError: the contract or the ballots in the state are none, or nobody that gave some has a
            weight.
    """

    def step(state: State) -> Update:
        missing = attendance(state, communities, quorum).missing
        persons = [name for name in state.get("ballots") or {} if name not in (VERIFY, *communities)]
        present = [*(name for name in communities if name not in missing), *persons]
        texts = written_candidates(state, drafts)
        if not texts:
            raise ModelCallError(_no_draft(state, drafts))
        weights = _weights(state, priors, persons)
        ballots = {name: _ballots_of(state, name) for name in (VERIFY, *present)}
        rules = rules_of(state)
        said = [ballot for given in ballots.values() for ballot in given if ballot["rule"] is not None]
        standings = {name: standing(rules, said, weights, name) for name in texts} if rules else {}
        scores = {name: _scores(ballots[name]) for name in present}
        repairs = _decided(state, texts, standings, {name: scores[name] for name in present if weights.get(name)})
        scores = {name: _with_repairs(given, repairs) for name, given in scores.items()}
        eligible = _eligible(texts, standings, repairs)
        update: Update = {"missing": missing, "tally": None, "uncertainty": None}
        chosen = eligible[0]
        if len(eligible) > 1:
            table = _table(scores, eligible, standings, weights)
            result = counted(table, state.get("choose") or "nash", state.get("normalise") or "none")
            of_table = [each for name in present for each in ballots[name] if each["candidate"] in eligible]
            update |= {"tally": result, "uncertainty": uncertainty(table, of_table)}
            chosen = result["winner"]
        if rules:
            status = standings[chosen]["status"]
            given_rounds = state.get("rounds")
            left = (ROUNDS if given_rounds is None else given_rounds) - len(repairs)
            update |= {
                "standing": standings,
                "status": status,
                "repairs": repairs,
                "rounds_left": max(0, left) if status == "breached" else 0,
            }
        elif state.get("contract") is not None:  # none of its rules is for this question
            update |= {"standing": {}, "status": None, "repairs": [], "rounds_left": 0}
        waits = bool(state.get("hearing")) and state.get("submissions") is None
        return {**update, **_answer(state, chosen), "waits": waits and not update.get("rounds_left")}

    return step


def _weights(state: State, priors: Priors, persons: Sequence[str]) -> dict[str, float]:
    """The members' weights: a person's is the mean of the communities', unless a hearing has said otherwise."""
    weights = dict(weights_of(state, priors))
    mean = math.fsum(weights.values()) / len(weights)
    return {**weights, **dict.fromkeys(persons, mean), **dict(state.get("weights") or {})}


def _answer(state: State, chosen: str) -> Update:
    candidate = cast(Candidate, state["candidates"][chosen])
    return {"answer": candidate["text"], "candidate": chosen, "usage": ask.usage(candidate)}


def _no_draft(state: State, drafts: Sequence[str]) -> str:
    written: Mapping[str, Any] = state.get("candidates") or {}
    reasons = " ".join(f"{name}: {written[name]['error']}" for name in drafts if name in written)
    return f"No draft could be written, so there is nothing to choose. {reasons}"


def _scores(ballots: Sequence[Ballot]) -> dict[str, float]:
    """What one member's ballots say of the candidates themselves."""
    return {each["candidate"]: each["score"] for each in ballots if each["rule"] is None and each["score"] is not None}


def _decided(
    state: State,
    texts: Mapping[str, str],
    standings: Mapping[str, Standing],
    scores: Mapping[str, Mapping[str, float]],
) -> list[Repair]:
    """The repairs so far, with the last one accepted or refused, by the scores of the members that count."""
    repairs = [cast(Repair, dict(repair)) for repair in state.get("repairs") or ()]
    if not repairs or repairs[-1]["accepted"] is not None:
        return repairs
    last = repairs[-1]
    if last["candidate"] not in texts:
        error = state["candidates"][last["candidate"]]["error"]
        return [*repairs[:-1], {**last, "accepted": False, "why": f"it could not be written: {error}"}]
    before, after = (
        Judged(standings[name], {member: given[name] for member, given in scores.items() if name in given})
        for name in (last["of"], last["candidate"])
    )
    why = refused_repair(before, after)
    return [*repairs[:-1], {**last, "accepted": why is None, "why": why}]


def _with_repairs(scores: Mapping[str, float], repairs: Sequence[Repair]) -> dict[str, float]:
    """A member's scores with what was mended in its place, and without what was refused."""
    refused = {repair["candidate"] for repair in repairs if not repair["accepted"]}
    kept = {name: score for name, score in scores.items() if name not in refused}
    for repair in repairs:
        if repair["accepted"]:
            kept = put_in_place(kept, repair["of"], repair["candidate"])
    return kept


def _eligible(texts: Mapping[str, str], standings: Mapping[str, Standing], repairs: Sequence[Repair]) -> list[str]:
    """The candidates that may be the answer: of those that no repair has replaced, and that are no refused repair,
    those that break the fewest musts."""
    gone = {repair["of"] if repair["accepted"] else repair["candidate"] for repair in repairs}
    there = [name for name in texts if name not in gone]
    broken = {name: len(standings[name]["broken"]) if standings else 0 for name in there}
    fewest = min(broken.values())
    return [name for name in there if broken[name] == fewest]


def _table(
    scores: Mapping[str, Mapping[str, float]],
    candidates: Sequence[str],
    standings: Mapping[str, Standing],
    weights: Mapping[str, float],
) -> Table:
    """Members by candidates, weighed by how far each candidate keeps the shoulds; of those who judged one of them."""
    kept = {name: standings[name]["score"] if standings else None for name in candidates}
    factors = {name: 1.0 if score is None else score for name, score in kept.items()}
    members = [member for member, given in scores.items() if any(name in given for name in candidates)]
    rows = [[scores[member].get(name, math.nan) * factors[name] for name in candidates] for member in members]
    cells = np.array(rows).reshape(len(members), len(candidates))
    return Table(tuple(members), tuple(candidates), cells, np.array([weights[member] for member in members]))


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
