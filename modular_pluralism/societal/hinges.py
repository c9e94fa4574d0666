"""What a choice hangs on, in words: single members, their weights, false ballots, and whom it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

from modular_pluralism.societal.sensitivity import MOST_CANDIDATES
from modular_pluralism.societal.tally import Tally


def hinges_in_words(tally: Tally) -> list[str]:
    """Sentences on what would have changed the choice, and what it costs whom."""
    return [*_pivotal(tally), _flip(tally), *_false_ballots(tally), *_fairness(tally), *_slate(tally)]


def _pivotal(tally: Tally) -> Iterator[str]:
    for each in tally["pivotal"]:
        then = "nobody would be left to choose" if each["winner"] is None else f"{each['winner']} would be chosen"
        yield f"Without {each['member']}, {then}."
    if not tally["pivotal"]:
        yield "Whichever member is left out, the choice stays."


def _flip(tally: Tally) -> str:
    flip = tally["flip"]
    if flip is None:
        return "No weight of one member alone changes the choice."
    if flip["weight"] == flip["to"]:  # 0, under a rule by which it matters only whether there is one
        change = f"any weight at all for {flip['member']}, which has none"
    elif flip["to"] == 0:
        change = f"{flip['member']} from {flip['weight']:.3g} to 0"
    else:
        change = f"{flip['member']} from {flip['weight']:.3g} to {flip['to']:.3g}, or just beyond"
    return f"The smallest change of one weight that changes it: {change}. {flip['winner']} is chosen then."


def _false_ballots(tally: Tally) -> Iterator[str]:
    if tally["could_gain"] is None:
        yield f"False ballots were not tried: there are more than {MOST_CANDIDATES} candidates."
    elif not tally["could_gain"]:
        yield "No member could have gained by a false ballot."
    for each in tally["could_gain"] or ():
        yield (
            f"By a false ballot {each['member']} alone could have brought about {each['winner']}, which it scores "
            f"{each['gain']:.3f} higher."
        )


def _fairness(tally: Tally) -> Iterator[str]:
    if tally["winner"] in tally["pareto"]:
        yield "No other candidate is better for one member and worse for none."
    else:
        yield f"Better for one member and worse for none would have been one of {', '.join(tally['pareto'])}."
    price = tally["price_of_fairness"]
    yield (
        f"The members' scores of it have a Gini coefficient of {tally['gini']:.2f}; their mean is "
        f"{f'{price:.0%} below the largest one' if price else 'the largest one'}."
    )


def _slate(tally: Tally) -> Iterator[str]:
    chosen = tally["slate"]["candidates"]
    if len(chosen) > 1:
        yield f"A slate of {len(chosen)} would be {', '.join(chosen)}."
    for claim in tally["slate"]["unmet"]:
        yield f"It would leave a claim unmet: {', '.join(claim['members'])} all prefer {claim['candidate']}."
