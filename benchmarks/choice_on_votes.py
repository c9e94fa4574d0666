"""Whether a rule of social choice finds statements that no opinion group rejects: real votes, no language model.

examples:
  python -m benchmarks.choice_on_votes --data polis
  python -m benchmarks.choice_on_votes --data polis --only brexit-consensus --splits 5

The folder has exports of Polis, each in a folder of its own. Participants are halved at random. The first half's votes
make opinion groups, and choose five statements by each rule; the other half's votes measure what was chosen. A
participant of the other half belongs to the group whose middle is nearest to his votes on the statements that no rule
has chosen, so that nobody is put into a group by what is measured; with --place-by all, to his votes on all of them.
Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.study.conversations import Ballots, Export, OpinionGroups
from benchmarks.study.tables import Line, Sheet, sheet_text
from modular_pluralism.errors import PluralismError
from modular_pluralism.evaluation.statistics.bootstrap import RESAMPLES, Bootstrap, Statistic, Sums
from modular_pluralism.evaluation.statistics.results import Figure
from modular_pluralism.polis.export import COMMENTS, OPTIONS, Counts, Votes
from modular_pluralism.polis.shares import everyones_shares, smoothed
from modular_pluralism.societal.choice import ChoiceName, choice_rules
from modular_pluralism.societal.slate import slate_of
from modular_pluralism.societal.table import Table

CHOSEN = 5
"""Statements that each rule chooses."""
SPLITS = 20
_FEWEST = 10
"""Participants of the first half that count as a group."""
_LEAST_VOTES = 5
"""Of each group, in the first half, on a statement that can be chosen."""
MAJORITY, MEAN, SLATE = "majority", "groups' mean", "slate"
_BY_RULE: Mapping[str, ChoiceName] = {MEAN: "utilitarian", "nash": "nash", "maximin": "maximin"}
_AGREE = OPTIONS.index("Agree")
RULES = (MAJORITY, *_BY_RULE, SLATE)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Chosen:
    """What the rules have chosen on the first half, and how everybody of the other half voted on it.

    `statements` are the columns of all that some rule has chosen, and `places` where a rule's five are among them.
    `liked` is the place of a group's favourite among each rule's five, by its votes in the first half.
    """

    groups: int
    statements: list[int]
    places: Mapping[str, Ints]
    liked: Mapping[str, Ints]
    features: Floats
    """[n_participants, n_groups + 1, n_statements, 2]: whether a participant agrees, and has voted, as one of each
    group, and last as anybody; 0 for the first half."""


def agreement(votes: Floats | Counts, agrees: Floats | Counts) -> Floats:
    """The share that agrees, as Polis smooths it: with one vote more for each statement, and one against."""
    share: Floats = (agrees + 1) / (votes + 2)
    return share


def choose(
    first: Ballots, labels: Sequence[str], groups: Sequence[str], *, drawn: bool = False
) -> tuple[dict[str, list[int]], Floats]:
    """The columns that each rule chooses, and the groups' agreement [n_groups, n_statements] by which it does.

    With `drawn`, the agreement is that of the records that `community from-polis` would make of the first half: a
    group's shares are drawn to everyone's, and everyone's to the mean of all statements. Only statements with
    _LEAST_VOTES votes or more of each group can be chosen. The groups are the members, of equal weight but for the
    slate, where a group has its size, and all participants for the majority.

    Raises:
        ValueError: there are too few such statements.
    """
    own = [first[np.array(labels) == group] for group in groups]
    counts = np.array([_votes(ballots) for ballots in own])  # [n_groups, n_statements, 3]
    open_to = np.flatnonzero((counts.sum(axis=2) >= _LEAST_VOTES).all(axis=0))
    if len(open_to) < CHOSEN:
        raise ValueError(f"Only {len(open_to)} statements have {_LEAST_VOTES} votes of each group; {CHOSEN} are due.")
    scores, of_all = _agreements(counts, Votes(len(first), _votes(first)), drawn)
    names = tuple(map(str, open_to))
    table = Table(tuple(groups), names, scores[:, open_to], np.ones(len(groups)))
    by_size = replace(table, weights=np.array([float(len(ballots)) for ballots in own]))
    rules = choice_rules()
    majority = np.argsort(-of_all[open_to], kind="stable")
    chosen = {MAJORITY: open_to[majority[:CHOSEN]].tolist()}
    for title, name in _BY_RULE.items():
        places = rules[name].places(table.filled(), table.weights[None, :])[0]
        chosen[title] = open_to[np.argsort(places, kind="stable")[:CHOSEN]].tolist()
    chosen[SLATE] = [int(name) for name in slate_of(by_size, CHOSEN).candidates]
    return chosen, scores


def split(ballots: Ballots, seed: int, *, by_all: bool = False, drawn: bool = False) -> Chosen:
    """One split of the participants; `by_all`, the other half is put into groups by the chosen statements, too.
    `drawn` is as in `choose`.

    Raises:
        ValueError: the first half forms no two groups, or has voted too little.
    """
    order = np.random.default_rng([seed, 2]).permutation(len(ballots))
    first, other = order[: len(ballots) // 2], order[len(ballots) // 2 :]
    found = OpinionGroups(ballots[first], seed)
    sizes = {label: found.labels.count(label) for label in sorted(set(found.labels) - {""})}
    groups = [label for label, size in sizes.items() if size >= _FEWEST]
    if len(groups) < 2:
        raise ValueError(
            f"Only {len(groups)} groups have {_FEWEST} participants; take a conversation with more of them."
        )
    chosen, scores = choose(ballots[first], found.labels, groups, drawn=drawn)
    statements = sorted({column for columns in chosen.values() for column in columns})
    told = ballots[other].copy()
    if not by_all:
        told[:, statements] = np.nan
    labels = np.array(found.place(told))
    cast = np.stack([ballots[other][:, statements] == 1, np.isfinite(ballots[other][:, statements])], axis=2)
    features = np.zeros((len(ballots), len(groups) + 1, len(statements), 2))
    for at, group in enumerate(groups):
        features[other[labels == group], at] = cast[labels == group]
    features[other, -1] = cast
    return Chosen(
        groups=len(groups),
        statements=statements,
        places={rule: np.array([statements.index(each) for each in columns]) for rule, columns in chosen.items()},
        liked={rule: scores[:, columns].argmax(axis=1) for rule, columns in chosen.items()},
        features=features,
    )


class Measured:
    """A conversation's splits, and the figures over them, with intervals over participants.

    Participants are drawn again, each with all of his splits; groups and choices stay as they are.
    """

    def __init__(self, splits: Sequence[Chosen], *, seed: int, resamples: int = RESAMPLES) -> None:
        self.splits = splits
        flat = [each.features.reshape(len(each.features), -1) for each in splits]
        ends = np.cumsum([part.shape[1] for part in flat])
        self._slices = [slice(end - part.shape[1], end) for part, end in zip(flat, ends, strict=True)]
        self.participants = len(flat[0])
        self._bootstrap = Bootstrap(np.concatenate(flat, axis=1), seed=seed, resamples=resamples)

    def figure(self, measure: Measure, rule: str, less: str | None = None) -> Figure:
        """The mean over the splits, of a rule or of what it has more than another."""
        one = self._mean(measure, rule)
        if less is None:
            return self._bootstrap.figure(one, n=self.participants)
        other = self._mean(measure, less)
        return self._bootstrap.figure(lambda sums: one(sums) - other(sums), n=self.participants, difference=True)

    def _mean(self, measure: Measure, rule: str) -> Statistic:
        def statistic(sums: Sums) -> Floats:
            values = [measure(each, rule, self._shares(sums, at)) for at, each in enumerate(self.splits)]
            mean: Floats = np.stack(values).mean(axis=0)
            return mean

        return statistic

    def _shares(self, sums: Sums, at: int) -> Floats:
        """[..., n_groups + 1, n_statements]."""
        counted = sums[..., self._slices[at]].reshape(*sums.shape[:-1], *self.splits[at].features.shape[1:])
        return agreement(counted[..., 1], counted[..., 0])


Measure = Callable[[Chosen, str, Floats], Floats]


def worst_group(chosen: Chosen, rule: str, shares: Floats) -> Floats:
    """The mean agreement with the five, of the group that agrees the least."""
    means: Floats = shares[..., :-1, :][..., chosen.places[rule]].mean(axis=-1).min(axis=-1)
    return means


def worst_favourite(chosen: Chosen, rule: str, shares: Floats) -> Floats:
    """The agreement with its favourite of the five, of the group that agrees the least with its own."""
    favourites = chosen.places[rule][chosen.liked[rule]]
    least: Floats = shares[..., np.arange(chosen.groups), favourites].min(axis=-1)
    return least


def everybody(chosen: Chosen, rule: str, shares: Floats) -> Floats:
    """Everybody's mean agreement with the five."""
    mean: Floats = shares[..., -1, :][..., chosen.places[rule]].mean(axis=-1)
    return mean


MEASURES: Mapping[str, tuple[Measure, str]] = {
    "The worst group's agreement": (worst_group, "The mean over the five, of the group that agrees the least."),
    "The worst group's agreement with its favourite": (
        worst_favourite,
        "Of each group's favourite among the five, by the first half; of the group that agrees the least with its own.",
    ),
    "Everybody's agreement": (everybody, "The mean over the five, of all participants: what the rules cost."),
}


def sheets_of(measured: Mapping[str, Measured]) -> list[Sheet]:
    """The tables, a conversation a row: the figures, and what each rule has more than the majority."""
    sheets = []
    for title, (measure, note) in MEASURES.items():
        more = {f"{rule} − {MAJORITY}": rule for rule in RULES if rule != MAJORITY}
        lines = []
        for name, each in measured.items():
            cells: dict[str, Figure | None] = {rule: each.figure(measure, rule) for rule in RULES}
            cells |= {column: each.figure(measure, rule, MAJORITY) for column, rule in more.items()}
            lines.append(Line(name=name, cells=cells))
        sheets.append(Sheet(title=title, note=note, lines=lines, differences=list(more)))
    return sheets


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder of the exports' folders")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these conversations only, by their folders' names")
    parser.add_argument("--place-by", choices=("others", "all"), default="others", help="see above (default: others)")
    parser.add_argument(
        "--drawn", action="store_true", help="choose by shares that are drawn to everyone's, as in records"
    )
    parser.add_argument("--splits", type=int, default=SPLITS, metavar="N", help=f"halvings (default: {SPLITS})")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of halves, groups and intervals (default: 0)")
    given = parser.parse_args()
    folders = sorted(path.parent for path in given.data.glob(f"*/{COMMENTS}"))
    folders = [folder for folder in folders if not given.only or folder.name in given.only]
    if not folders or given.splits < 1:
        parser.error("there is no such export of Polis in --data, or no split")
    measured = {}
    try:
        for folder in folders:
            print(folder.name, file=sys.stderr, flush=True)
            ballots = Export(folder).ballots()
            seeds = range(given.seed, given.seed + given.splits)
            splits = [split(ballots, seed, by_all=given.place_by == "all", drawn=given.drawn) for seed in seeds]
            groups = sorted({each.groups for each in splits})
            shown = f"{groups[0]} groups" if len(groups) == 1 else f"{groups[0]} to {groups[-1]} groups"
            title = f"{folder.name} ({ballots.shape[0]:,} participants, {ballots.shape[1]} statements, {shown})"
            measured[title] = Measured(splits, seed=given.seed)
    except (PluralismError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    print(
        f"{given.splits} splits, seed {given.seed}. In brackets are 95 % bootstrap intervals over participants, each "
        "drawn again with all of his splits, while groups and choices stay; a difference is bold where its interval "
        "excludes zero.\n"
    )
    print("\n\n".join(map(sheet_text, sheets_of(measured))))


def _agreements(counts: Counts, everyone: Votes, drawn: bool) -> tuple[Floats, Floats]:
    """The agreement of the groups with these counts [n_groups, n_statements, 3], and everyone's [n_statements]."""
    if not drawn:
        of_groups = agreement(counts.sum(axis=2), counts[:, :, _AGREE])
        return of_groups, agreement(everyone.voters, everyone.counts[:, _AGREE])
    expected = everyones_shares(everyone).shares
    return np.array([smoothed(each, expected).shares[:, _AGREE] for each in counts]), expected[:, _AGREE]


def _votes(ballots: Ballots) -> Counts:
    """[n_statements, 3], in the order of OPTIONS."""
    return np.stack([(ballots == cast).sum(axis=0) for cast in (1, -1, 0)], axis=1)


if __name__ == "__main__":
    main()
