"""The minutes of a kept assembly: what was chosen, whom that serves, who dissents, and what it hangs on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from typing_extensions import TypedDict  # of `typing`'s, pydantic makes no schema before Python 3.12

from modular_pluralism.errors import InputError
from modular_pluralism.graphs.state import in_pool_order
from modular_pluralism.modes import find_mode, takers
from modular_pluralism.runs.contents import damage, read_contents
from modular_pluralism.runs.run_store import RunStore
from modular_pluralism.runs.run_table import ListedRun, RunTable
from modular_pluralism.runs.setup import Setup
from modular_pluralism.societal.account import chosen_in_words, notes_on_ballots
from modular_pluralism.societal.choice import choice_rules
from modular_pluralism.societal.contract import Contract
from modular_pluralism.societal.dissent import Dissent, dissent
from modular_pluralism.societal.hinges import hinges_in_words
from modular_pluralism.societal.standing import MemberWord, Standing
from modular_pluralism.societal.tally import Tally
from modular_pluralism.societal.uncertainty import Uncertainty
from modular_pluralism.types import Ballot, Candidate, Comment, MemberKind, Repair, Status, Strength, Verdict

FORMAT = "modular-pluralism/minutes"
VERSION = 1


class Voted(TypedDict):
    """A member that took part; `weight` is None where nothing was chosen, so that no weight counted."""

    member: str
    kind: MemberKind
    weight: float | None


class RuleMinuted(TypedDict):
    """A rule of the contract, in words where it has some, and how the answer stands by it."""

    text: str | None
    strength: Strength
    source: str | None
    standing: Verdict
    verdict: dict[Verdict, float] | None
    said: list[MemberWord]


class ContractMinuted(TypedDict):
    """The contract that the answer was held against. `statuses` are the candidates'."""

    version: str
    status: Status
    rules: dict[str, RuleMinuted]
    statuses: dict[str, Status]
    repairs: list[Repair]


class Minutes(TypedDict):
    """The minutes of an assembly: JSON-serialisable.

    `format` and `version` tell what it is. `chosen` and `hinges` are sentences, and `notes` what has to be known of
    single ballots. `tally` and `uncertainty` are None where nothing was chosen, and `contract` where there was none.
    `missing` says of each community that took no part why. `waiting` is whether people are still to be heard, and
    `submissions` are what they have submitted.
    """

    format: str
    version: int
    run: str
    begun: str
    question: str
    attribute: str | None
    answer: str
    candidate: str
    chosen: list[str]
    tally: Tally | None
    candidates: dict[str, Candidate]
    contract: ContractMinuted | None
    dissent: list[Dissent]
    uncertainty: Uncertainty | None
    hinges: list[str]
    took_part: list[Voted]
    missing: dict[str, str]
    notes: list[str]
    ballots: dict[str, list[Ballot]]
    waiting: bool
    submissions: list[dict[str, Any]]
    seed: int
    pool: str
    prompts: str | None


async def read_minutes(store: RunStore, run: str) -> Minutes:
    """The minutes of a kept run.

    Raises:
        InputError: there is no such run, it is of a mode without minutes, or has no answer yet.
        StoreError: it cannot be read, or is damaged.
    """
    table = RunTable(store)
    listed, setup = await table.get(run), await table.setup(run)
    if not find_mode(setup.mode).takes.choose:
        raise InputError(
            f"The run {run} is of {setup.mode} mode, in which nothing is chosen; minutes are of {takers('choose')} "
            "mode alone."
        )
    contents = await read_contents(store, run, setup.mode)
    if not contents.finished:
        raise InputError(
            f"The run {run} has no answer yet, and so no minutes; go on with it first: `pluralism resume {run}`."
        )
    with damage(store, run):
        return minutes_of(in_pool_order(contents.state, setup.communities), listed, setup)


def minutes_of(state: Mapping[str, Any], listed: ListedRun, setup: Setup) -> Minutes:
    """The minutes of a finished run, from its state."""
    tally: Tally | None = state.get("tally")
    ballots: dict[str, list[Ballot]] = state.get("ballots") or {}
    comments: dict[str, Comment] = state.get("comments") or {}
    submissions: list[dict[str, Any]] = state.get("submissions") or []
    return Minutes(
        format=FORMAT,
        version=VERSION,
        run=listed.id,
        begun=datetime.fromtimestamp(listed.created, UTC).isoformat(timespec="seconds"),
        question=str(setup.asked["question"]),
        attribute=setup.asked.get("attribute"),
        answer=state["answer"],
        candidate=state["candidate"],
        chosen=chosen_in_words(state),
        tally=tally,
        candidates=state["candidates"],
        contract=_contract(state),
        dissent=[] if tally is None else dissent(tally, ballots, comments, submissions),
        uncertainty=state.get("uncertainty"),
        hinges=[] if tally is None else hinges_in_words(tally),
        took_part=_took_part(tally, ballots),
        missing=_missing(state, comments),
        notes=notes_on_ballots(state),
        ballots=ballots,
        waiting=bool(state.get("waits")),
        submissions=submissions,
        seed=setup.asked.get("seed") or 0,
        pool=setup.pool,
        prompts=setup.prompts,
    )


def rules_minuted(tally: Tally) -> list[dict[str, str | bool]]:
    """Every rule by which an assembly can choose: who wins by it, what it looks at, and what it assumes."""
    rules = choice_rules(len(tally["slate"]["candidates"]))
    return [
        {
            "name": name,
            "winner": tally["winners"][name],
            "own": name == tally["rule"],
            "chooses": rule.chooses,
            "assumes": rule.assumes,
            "weighs": rule.weighs,
        }
        for name, rule in rules.items()
    ]


def _contract(state: Mapping[str, Any]) -> ContractMinuted | None:
    standings: dict[str, Standing] = state.get("standing") or {}
    found = standings.get(state["candidate"])
    if found is None:
        return None
    contract = Contract.from_data(state["contract"])
    return ContractMinuted(
        version=contract.version,
        status=found["status"],
        rules={
            name: RuleMinuted(
                text=contract.rules[name].text,
                strength=each["strength"],
                source=contract.rules[name].source,
                standing=each["standing"],
                verdict=each["verdict"],
                said=each["said"],
            )
            for name, each in found["rules"].items()
        },
        statuses={name: each["status"] for name, each in standings.items()},
        repairs=state.get("repairs") or [],
    )


def _took_part(tally: Tally | None, ballots: Mapping[str, list[Ballot]]) -> list[Voted]:
    """Those who gave a ballot on a candidate; verifiers are named with the rules that they decide."""
    weights = {} if tally is None else dict(zip(tally["members"], tally["weights"], strict=True))
    return [
        Voted(member=member, kind=given[0]["kind"], weight=weights.get(member))
        for member, given in ballots.items()
        if any(each["rule"] is None for each in given)
    ]


def _missing(state: Mapping[str, Any], comments: Mapping[str, Comment]) -> dict[str, str]:
    reasons = {name: comments[name]["error"] if name in comments else None for name in state.get("missing") or ()}
    return {name: reason or "It gave no ballot." for name, reason in reasons.items()}
