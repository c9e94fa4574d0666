"""What other implementations of the rules of social choice say of random ballots, kept beside this file.

They are no part of what the tests install, and asked once, in an environment of their own:

    python -m venv oracle && oracle/bin/pip install pref-voting habermas-machine
    oracle/bin/python -m tests.societal_oracle
"""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import version
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

ANSWERS = Path(__file__).with_suffix(".json")
CASES = 80
BEST = 10
"""Scores are whole numbers from 1 to this one, so that nothing is rounded."""


def asked() -> dict[str, Any]:
    """The kept answers: `versions`, and `cases` of `scores` [n_members, n_candidates] and `weights` with places."""
    read: dict[str, Any] = json.loads(ANSWERS.read_text())
    return read


def main() -> None:
    """Ask both packages, and write what they answer."""
    draw = Random(0)
    cases = [json.dumps(_case(draw), separators=(",", ":")) for _ in range(CASES)]
    versions = json.dumps({name: version(name) for name in ("pref-voting", "habermas-machine")})
    ANSWERS.write_text(f'{{"versions":{versions},"cases":[\n' + ",\n".join(cases) + "\n]}\n")


def _case(draw: Random) -> dict[str, Any]:
    members, candidates = draw.randint(1, 5), draw.randint(2, 6)  # more, and products overflow there
    few = draw.choice([3, BEST])  # with few levels there are many ties
    scores = [[draw.randint(1, few) for _ in range(candidates)] for _ in range(members)]
    weights = [draw.randint(1, 3) for _ in range(members)]
    return {"scores": scores, "weights": weights, "places": _places(scores, weights), **_unweighted(scores)}


def _places(scores: list[list[int]], weights: list[int]) -> dict[str, list[int]]:
    """By pref-voting, with as many voters as a member has weight."""
    utility = import_module("pref_voting.utility_methods")
    voters = [row for row, weight in zip(scores, weights, strict=True) for _ in range(weight)]
    profile, everyone = _utilities(voters), range(len(scores[0]))
    nothing = len(scores[0])  # the status quo of Nash's rule, which gives nobody anything
    with_nothing = _utilities([[*row, 0] for row in voters])
    orders = _orders(voters)
    borda = orders.borda_scores()
    schulze = import_module("pref_voting.margin_based_methods").beat_path(orders, strength_function=orders.support)
    return {
        "utilitarian": _dense(utility.sum_utilitarian_ranking(profile).rmap, everyone),
        "maximin": _dense(utility.maximin_ranking(profile).rmap, everyone),
        "leximin": _dense(utility.lexicographic_maximin_ranking(profile).rmap, everyone),
        "nash": _dense(utility.nash_ranking(with_nothing, sq=nothing).rmap, everyone),
        "borda": _dense({each: -borda[each] for each in everyone}, everyone),
        "schulze winners": sorted(map(int, schulze)),
    }


def _unweighted(scores: list[list[int]]) -> dict[str, Any]:
    """By habermas-machine, which knows no weights: the places with ties."""
    np = import_module("numpy")
    machine = import_module("habermas_machine.social_choice.schulze_method")
    utils = import_module("habermas_machine.social_choice.utils")
    ranks = np.array([_dense({at: -score for at, score in enumerate(row)}, range(len(row))) for row in scores])
    social = machine.Schulze(utils.TieBreakingMethod.TIES_ALLOWED).aggregate_with_ties(ranks)
    return {"unweighted schulze": social.tolist()}


def _utilities(voters: list[list[int]]) -> Any:
    profiles = import_module("pref_voting.utility_profiles")
    return profiles.UtilityProfile([dict(enumerate(row)) for row in voters])


def _orders(voters: list[list[int]]) -> Any:
    profiles = import_module("pref_voting.profiles_with_ties")
    rankings = [{at: BEST + 1 - score for at, score in enumerate(row)} for row in voters]
    return profiles.ProfileWithTies(rankings, candidates=list(range(len(voters[0]))))


def _dense(keys: Any, candidates: range) -> list[int]:
    """Places from 0 on, equal keys having the same."""
    numbered = dict(zip(sorted({keys[each] for each in candidates}), count(), strict=False))
    return [numbered[keys[each]] for each in candidates]


if __name__ == "__main__":
    main()
