"""Reading what Polis exports of a conversation: its statements, and who voted how on them.

A row of votes is counted and forgotten, so that memory does not grow with the participants.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from modular_pluralism.errors import TrainingDataError

Counts = npt.NDArray[np.int64]

OPTIONS = ("Agree", "Disagree", "Pass")
_PLACES = {"1": 0, "-1": 1, "0": 2}
"""Where a vote is counted: the place of its option."""

COMMENTS = "comments.csv"
VOTES = ("participants-votes.csv", "participant-votes.csv")
"""The name in the data that Polis has opened, and the one in its reports."""
SUMMARY = "summary.csv"

_MODERATED_OUT = "-1"


@dataclass
class Votes:
    """The votes of some participants: `counts` [n_statements, 3], in the order of OPTIONS."""

    participants: int
    counts: Counts

    @property
    def voters(self) -> Counts:
        """How many have voted on each statement: [n_statements]."""
        voters: Counts = self.counts.sum(axis=1)
        return voters


class Conversation(NamedTuple):
    """A conversation: the texts of its statements, in the order of their numbers, and the votes on them.

    `groups` are Polis's opinion groups by their letter; `everyone` includes those who are in none. `left_out` says what
    of the export is not in here, for people.
    """

    topic: str
    question: str
    statements: tuple[str, ...]
    groups: dict[str, Votes]
    everyone: Votes
    left_out: tuple[str, ...]


def read_conversation(folder: Path) -> Conversation:
    """The conversation whose export lies in the folder: comments.csv, participants-votes.csv, perhaps summary.csv.

    Statements that moderators took out, and such as nobody voted on, are left out.

    Raises:
        TrainingDataError: a file is missing or is none of Polis's, has no statement or no vote, or a vote that cannot
            be; names the file and the row.
    """
    if not folder.is_dir():
        raise TrainingDataError(f"There is no folder {folder}; name the one that Polis's export was unpacked to.")
    votes = next((folder / name for name in VOTES if (folder / name).is_file()), folder / VOTES[0])
    texts, moderated = _statements(folder / COMMENTS)
    order = sorted(texts, key=lambda number: (len(number), number))
    groups, everyone, unknown = _count(votes, order, moderated)
    heard = np.flatnonzero(everyone.voters)
    if not heard.size:
        raise TrainingDataError(f"{votes} has no vote on a statement of {COMMENTS}; take both from one export.")
    summary = _summary(folder / SUMMARY)
    return Conversation(
        topic=" ".join(summary.get("topic", "").split()) or folder.resolve().name,
        question=" ".join(summary.get("conversation-description", "").split()),
        statements=tuple(texts[order[at]] for at in heard),
        groups={letter: Votes(each.participants, each.counts[heard]) for letter, each in sorted(groups.items())},
        everyone=Votes(everyone.participants, everyone.counts[heard]),
        left_out=_told(len(moderated), len(order) - heard.size, unknown),
    )


def _told(moderated: int, unheard: int, unknown: int) -> tuple[str, ...]:
    reasons = {
        "moderated out": moderated,
        "without a vote": unheard,
        f"voted on, but not in {COMMENTS}": unknown,
    }
    return tuple(f"{count} statement{'s' * (count != 1)} {why}" for why, count in reasons.items() if count)


def _statements(path: Path) -> tuple[dict[str, str], set[str]]:
    """The texts by the statements' numbers, and the numbers of those that moderators took out."""
    texts: dict[str, str] = {}
    moderated = set()
    rows = _rows(path)
    columns = _columns(path, next(rows, []), ("comment-id", "comment-body"), ("moderated",))
    for at, row in enumerate(rows, start=1):
        number, text = row[columns["comment-id"]].strip(), " ".join(row[columns["comment-body"]].split())
        if "moderated" in columns and row[columns["moderated"]].strip() == _MODERATED_OUT:
            moderated.add(number)
        elif text:
            if number in texts:
                raise TrainingDataError(f"{path.name}, row {at}: the statement {number[:20]} is there twice; keep one.")
            texts[number] = text
    if not texts:
        raise TrainingDataError(f"{path} has no statement that is not moderated out; export the conversation anew.")
    return texts, moderated


def _count(path: Path, order: Sequence[str], moderated: set[str]) -> tuple[dict[str, Votes], Votes, int]:
    """The groups' votes by their letters, everyone's, and how many columns are of statements that are not known."""
    rows = _rows(path)
    header = [name.strip() for name in next(rows, [])]
    columns = _columns(path, header, ("participant", "group-id"), ())
    places = {number: at for at, number in enumerate(order)}
    numbers = [name for name in header if name.isdecimal()]
    voted = [(at, places[name]) for at, name in enumerate(header) if name in places]
    groups: dict[str, Votes] = {}
    everyone = Votes(0, np.zeros((len(order), len(OPTIONS)), dtype=np.int64))
    for number, row in enumerate(rows, start=1):
        cast = [(place, _option(path, number, header[at], row[at])) for at, place in voted if row[at].strip()]
        if not cast:
            continue
        group = row[columns["group-id"]].strip()
        hearers = [everyone]
        if group:
            letter = _letter(path, number, group)
            hearers.append(groups.setdefault(letter, Votes(0, np.zeros_like(everyone.counts))))
        where = tuple(np.array(cast).T)
        for votes in hearers:
            votes.participants += 1
            votes.counts[where] += 1
    return groups, everyone, sum(name not in places and name not in moderated for name in numbers)


def _option(path: Path, row: int, statement: str, vote: str) -> int:
    place = _PLACES.get(vote.strip())
    if place is None:
        raise TrainingDataError(
            f"{path.name}, row {row}, statement {statement}: {vote[:20]!r} is no vote; write 1, -1, 0 or nothing."
        )
    return place


def _letter(path: Path, row: int, group: str) -> str:
    """Polis counts groups from 0, and calls them A, B, … where people see them."""
    if not (group.isdecimal() and len(group) < 9 and int(group) < 26):
        raise TrainingDataError(
            f"{path.name}, row {row}: {group[:20]!r} is no group of Polis; write 0, 1, … or nothing."
        )
    return chr(ord("a") + int(group))


def _columns(path: Path, header: Sequence[str], needed: Sequence[str], known: Sequence[str]) -> dict[str, int]:
    names = [name.strip() for name in header]
    missing = [name for name in needed if name not in names]
    if missing:
        raise TrainingDataError(
            f"{path} has no column {missing[0]!r}, as Polis's {path.name} has; name the folder of an export."
        )
    return {name: names.index(name) for name in (*needed, *known) if name in names}


def _rows(path: Path) -> Iterator[list[str]]:
    """The rows of a CSV file, the first line's included, each with as many fields as that."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            width = 0
            for number, row in enumerate(rows):
                width = width or len(row)
                if row and len(row) != width:
                    raise TrainingDataError(
                        f"{path.name}, row {number} has {len(row)} fields where the first line has {width}; export the "
                        "conversation anew."
                    )
                if row:
                    yield row
    except FileNotFoundError:
        raise TrainingDataError(f"There is no file {path}, which Polis exports; name the export's folder.") from None
    except OSError as error:
        raise TrainingDataError(f"{path} cannot be read ({error.strerror or error}); allow reading it.") from error
    except UnicodeDecodeError as error:
        raise TrainingDataError(f"{path} is not UTF-8 text (byte {error.start}); export it anew.") from error
    except csv.Error as error:
        raise TrainingDataError(f"{path} is not CSV ({error}); export it anew.") from error


def _summary(path: Path) -> dict[str, str]:
    """What summary.csv says, key by key; it is for people, and may be missing."""
    return {row[0].strip(): row[1] for row in _ragged(path) if len(row) > 1}


def _ragged(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.reader(file))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as error:
        raise TrainingDataError(f"{path} cannot be read ({error}); remove it, or export it anew.") from error
