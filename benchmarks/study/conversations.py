"""Opinion groups of a Polis conversation that know half of its statements, and how they voted on the other half.

The groups of an export are made of all its votes. Here participants are grouped anew by their votes on the seen half
alone, much as Polis groups them: a vote that is missing is the statement's mean, two principal components, k-means, and
the number of groups whose silhouette is the best. Both halves are written as exports, so that the seen one becomes a
pool as any export does.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modular_pluralism.optional import optional
from modular_pluralism.polis.export import COMMENTS, VOTES, Counts, read_conversation
from modular_pluralism.polis.write import EVERYONE, FEWEST, write_polis_pool
from modular_pluralism.pool import Pool
from modular_pluralism.records.rows import stream_rows
from modular_pluralism.records.survey import SurveyItem, answered_items

LEAST_VOTES = 10
"""Of a group, on a statement whose shares are predicted."""
_FEWEST_CAST = 7
"""Votes on the seen half that put a participant into a group; Polis asks for as many."""
_MOST_GROUPS = 5

Ballots = NDArray[np.float64]
"""1 agrees, -1 disagrees, 0 passes, NaN has not voted: [n_participants, n_statements]."""


class Unseen(NamedTuple):
    """A statement that was not seen, and a group's votes on it and everybody's: [3] of each."""

    statement: str
    votes: Counts
    everybody: Counts


class Asked(NamedTuple):
    """A group: the records of its own and of everybody's votes on the seen half, and what it is asked."""

    group: str
    own: list[SurveyItem]
    everybody: list[SurveyItem]
    unseen: list[Unseen]


class Export:
    """The files of an export, row by row.

    Raises:
        TrainingDataError: they are none of Polis's.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        texts = set(read_conversation(folder).statements)  # and with it every vote is checked
        self._comments = _rows(folder / COMMENTS)
        self._voters = _rows(next(folder / name for name in VOTES if (folder / name).is_file()))
        self._text = {row["comment-id"].strip(): " ".join(row["comment-body"].split()) for row in self._comments}
        self._numbers = [
            name for name in self._voters[0] if name.strip() in self._text and self._text[name.strip()] in texts
        ]

    def ballots(self) -> Ballots:
        """What everybody has cast on all statements, in the order of their columns."""
        return self._ballots(self._numbers)

    def asked(self, seed: int) -> Iterator[Asked]:
        """Groups, of each half of the statements in turn, with the other half to predict."""
        texts = sorted({self._text[number.strip()] for number in self._numbers})
        drawn = np.random.default_rng([seed, 1]).permutation(len(texts))
        first = {texts[place] for place in drawn[: len(texts) // 2]}
        halves = [
            [number for number in self._numbers if (self._text[number.strip()] in first) is chosen]
            for chosen in (True, False)
        ]
        for seen, unseen in (halves, halves[::-1]):
            groups = OpinionGroups(self._ballots(seen), seed).labels
            with tempfile.TemporaryDirectory() as folder:
                yield from self._of_half(Path(folder), seen, unseen, groups)

    def _of_half(
        self, folder: Path, seen: Sequence[str], unseen: Sequence[str], groups: Sequence[str]
    ) -> Iterator[Asked]:
        known = read_conversation(self._write(folder / "seen", seen, groups))
        pool = write_polis_pool(known, Pool.load("culture"), folder / "pool")
        records = {
            group.name: answered_items(stream_rows(folder / "pool" / "records" / f"{group.name}.csv"))
            for group in pool.groups
        }
        voted = read_conversation(self._write(folder / "unseen", unseen, groups))
        for letter, votes in voted.groups.items():
            own = records.get(f"group_{letter}")
            if own is None:  # a group of so few that it is no community
                continue
            told = [
                Unseen(*each)
                for each in zip(voted.statements, votes.counts, voted.everyone.counts, strict=True)
                if each[1].sum() >= LEAST_VOTES
            ]
            yield Asked(letter, own, records[EVERYONE], told)

    def _ballots(self, numbers: Sequence[str]) -> Ballots:
        cast = [[float(row[number]) if row[number].strip() else np.nan for number in numbers] for row in self._voters]
        return np.array(cast)

    def _write(self, folder: Path, numbers: Sequence[str], groups: Sequence[str]) -> Path:
        """An export of these statements alone."""
        folder.mkdir()
        kept = {number.strip() for number in numbers}
        _save(folder / COMMENTS, [row for row in self._comments if row["comment-id"].strip() in kept])
        votes = [
            {"participant": row["participant"], "group-id": group, **{number: row[number] for number in numbers}}
            for row, group in zip(self._voters, groups, strict=True)
        ]
        _save(folder / VOTES[0], votes)
        return folder


class OpinionGroups:
    """Groups of the participants of these ballots, in which others can be placed.

    `labels` are the number of each participant's group, counted from 0; empty for those who have cast too few votes.

    Raises:
        ValueError: no number of groups leaves two with enough participants.
    """

    def __init__(self, ballots: Ballots, seed: int) -> None:
        cluster, decomposition, metrics = (
            optional(f"sklearn.{name}", "records", "Grouping participants")
            for name in ("cluster", "decomposition", "metrics")
        )
        self._heard = np.isfinite(ballots).any(axis=0)
        placed = self._placed(ballots)
        chosen = ballots[placed][:, self._heard]
        cast = np.isfinite(chosen)
        self._means = np.where(cast, chosen, 0.0).sum(axis=0) / np.maximum(cast.sum(axis=0), 1)
        filled = np.where(cast, chosen, self._means)
        different = len(np.unique(filled, axis=0))
        self._axes = decomposition.PCA(2, random_state=seed).fit(filled) if different > 1 else None
        points = self._points(filled)
        best: tuple[float, Any] | None = None
        for count in range(2, min(_MOST_GROUPS, different, len(points) - 1) + 1):
            found = cluster.KMeans(count, n_init=10, random_state=seed).fit(points)
            if (np.bincount(found.labels_) >= FEWEST).sum() < 2:
                continue
            score = float(metrics.silhouette_score(points, found.labels_))
            if best is None or score > best[0]:
                best = (score, found)
        if best is None:
            raise ValueError("The participants fall into fewer than two groups; take a conversation with more of them.")
        self._clusters = best[1]
        self.labels = _labels(placed, self._clusters.labels_)

    def place(self, ballots: Ballots) -> list[str]:
        """The labels of others, by what they have cast on the same statements: the group whose middle is nearest."""
        placed = self._placed(ballots)
        if not placed.any():
            return [""] * len(ballots)
        chosen = ballots[placed][:, self._heard]
        filled = np.where(np.isfinite(chosen), chosen, self._means)
        return _labels(placed, self._clusters.predict(self._points(filled)))

    def _placed(self, ballots: Ballots) -> NDArray[np.bool_]:
        heard = ballots[:, self._heard]
        placed: NDArray[np.bool_] = np.isfinite(heard).sum(axis=1) >= min(_FEWEST_CAST, heard.shape[1])
        return placed

    def _points(self, filled: Ballots) -> Any:
        return filled if self._axes is None else self._axes.transform(filled)


def _labels(placed: NDArray[np.bool_], numbers: Sequence[int]) -> list[str]:
    found = iter(numbers)
    return [str(next(found)) if inside else "" for inside in placed]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def _save(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with path.open("x", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
