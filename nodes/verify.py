"""Assembly: what can be verified of a contract's rules without any model."""

from __future__ import annotations

from collections.abc import Sequence

from modular_pluralism.nodes.aggregate import Priors, shares_of
from modular_pluralism.nodes.draft import written_candidates
from modular_pluralism.nodes.step import Body, State, Update, step_maker
from modular_pluralism.nodes.under_contract import VERIFY, ballots_before, rules_of, unjudged
from modular_pluralism.societal.verifiers.candidate import Candidate
from modular_pluralism.societal.verifying import verify as verified


@step_maker()
def verify(*, drafts: Sequence[str], communities: Sequence[str], priors: Priors) -> Body:
    """Step that writes `ballots["verify"]`: one ballot of its verifier for each candidate and each rule that has one.
    Without a contract it writes nothing. Of a draft that was mended, only that is verified anew.

    Raises (in the step):
        ContractError: the contract in the state is none.
    """

    def step(state: State) -> Update:
        rules = rules_of(state)
        if not any(rule.verify is not None for rule in rules.values()):
            return {}
        said = state.get("comments") or {}
        comments = {name: said[name]["text"] for name in communities if name in said and said[name]["error"] is None}
        weights = shares_of(state, priors)
        ballots = ballots_before(state, VERIFY)
        for name, text in unjudged(state, written_candidates(state, drafts)).items():
            candidate = Candidate(name, text, state["question"], comments, weights)
            ballots += verified(rules, candidate)
        return {"ballots": {VERIFY: ballots}}

    return step
