"""A pool of a conversation's opinion groups: pool.toml, and each group's record as a survey file beside it."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit

from modular_pluralism.errors import PoolError, TrainingDataError
from modular_pluralism.model_tables import EmbeddedModel
from modular_pluralism.polis.export import OPTIONS, Conversation, Counts
from modular_pluralism.polis.shares import Shares, Smoothed, Trait, everyones_shares, smoothed, traits
from modular_pluralism.pool import Pool
from modular_pluralism.pool_files.moved_pool import moved_path

FEWEST = 5
"""Participants of a group that becomes a community: what fewer have voted would be shown as theirs."""
EVERYONE = "everyone"
_TRAITS = 4
"""Statements in a group's description."""
_PLAIN_QUOTES = str.maketrans("“”", "''")
_LONGEST_STATEMENT = 160
"""Letters of one in a description."""


class PolisGroup(NamedTuple):
    """A community of the pool: how many it is, what sets it apart, and how far its shares are drawn to everyone's."""

    name: str
    participants: int
    statements: int
    traits: tuple[Trait, ...]
    description: str
    strength: float


class PolisPool(NamedTuple):
    """What was written: the pool file, its communities, and what was left out, for people. Traits number the
    `statements`."""

    pool: Path
    topic: str
    statements: tuple[str, ...]
    groups: tuple[PolisGroup, ...]
    left_out: tuple[str, ...]


def write_polis_pool(conversation: Conversation, models: Pool, folder: Path) -> PolisPool:
    """Write the pool of a conversation's opinion groups, and of everyone, into a new folder.

    A group's record has the statements that somebody in it has voted on, as questions with the options of OPTIONS; its
    weight in the pool is how many it is. `everyone` has the weight 0, since they are counted already.

    Args:
        conversation: What `read_conversation` has read.
        models: A pool whose base LLM the new one has, too.
        folder: Where to; it appears whole or not at all.

    Raises:
        TrainingDataError: fewer than two groups have at least FEWEST participants.
        PoolError: there is something at `folder` already, or it cannot be written.
    """
    groups = {letter: votes for letter, votes in conversation.groups.items() if votes.participants >= FEWEST}
    if len(groups) < 2:
        raise TrainingDataError(
            f"{len(groups)} opinion groups of {conversation.topic!r} have {FEWEST} or more participants, and a pool "
            "needs two; export it again when more people have voted."
        )
    left_out = [
        f"group {letter.upper()}, which has {votes.participants} participant{'s' * (votes.participants != 1)}"
        for letter, votes in conversation.groups.items()
        if letter not in groups
    ]
    everyone = everyones_shares(conversation.everyone)
    apart = traits(groups)
    written: list[PolisGroup] = []
    records: dict[str, tuple[Shares, Counts]] = {}
    for letter, votes in groups.items():
        own = smoothed(votes.counts, everyone.shares)
        described = _description(conversation, letter, apart[letter])
        name = f"group_{letter}"
        records[name] = (own.shares, votes.counts)
        heard = int((votes.voters > 0).sum())
        written.append(PolisGroup(name, votes.participants, heard, tuple(apart[letter]), described, own.strength))
    written.append(_everyone(conversation, everyone))
    records[EVERYONE] = (everyone.shares, conversation.everyone.counts)
    text = _pool_text(conversation, models, folder, written)
    _write(folder, text, {name: _record(conversation.statements, *record) for name, record in records.items()})
    return PolisPool(
        folder / "pool.toml",
        conversation.topic,
        conversation.statements,
        tuple(written),
        (*conversation.left_out, *left_out),
    )


def _everyone(conversation: Conversation, everyone: Smoothed) -> PolisGroup:
    votes = conversation.everyone
    description = f"All {votes.participants:,} participants of the conversation {_quoted(conversation.topic)}"
    return PolisGroup(EVERYONE, votes.participants, len(conversation.statements), (), description, everyone.strength)


def _description(conversation: Conversation, letter: str, apart: Sequence[Trait]) -> str:
    size, of = conversation.groups[letter].participants, conversation.everyone.participants
    start = f"Opinion group {letter.upper()} of {_quoted(conversation.topic)}, {size:,} of {of:,} participants"
    parts = []
    for option, verb in (("Agree", "agree"), ("Disagree", "disagree")):
        chosen = [trait for trait in apart[:_TRAITS] if trait.option == option]
        told = "; ".join(_trait(conversation.statements[trait.statement], trait) for trait in chosen)
        if told:
            parts.append(f"who more than the others {verb} that {told}")
    return ", ".join([start, " and ".join(parts)] if parts else [start])


def _trait(statement: str, trait: Trait) -> str:
    return f"{_quoted(statement)} ({trait.share:.0%} against {trait.others:.0%})"


def _quoted(text: str) -> str:
    """A text of people's own as one line between quotation marks, of which it can have none that end it."""
    shown = " ".join(text.split())
    cut = shown if len(shown) <= _LONGEST_STATEMENT else shown[: _LONGEST_STATEMENT - 1].rstrip() + "…"
    inner = cut.translate(_PLAIN_QUOTES)
    return f"“{inner}”"


def _pool_text(conversation: Conversation, models: Pool, folder: Path, groups: Sequence[PolisGroup]) -> str:
    document = tomlkit.document()
    document.add(tomlkit.comment("The opinion groups of a Polis conversation, each with the record of its votes."))
    if conversation.question:
        document.add(tomlkit.comment("It was asked: " + "".join(filter(str.isprintable, conversation.question))))
    document.add(tomlkit.nl())
    document.add("base", models.base)
    document.add("models", tomlkit.table(is_super_table=True).append(models.base, _model(models, folder)))
    communities = tomlkit.table(is_super_table=True)
    for group in groups:
        table = tomlkit.table()
        table.update(
            {
                "model": models.base,
                "answers": f"records/{group.name}.csv",
                "description": group.description,
                "prior": 0.0 if group.name == EVERYONE else float(group.participants),
            }
        )
        communities.append(group.name, table)
    document.add("communities", communities)
    return tomlkit.dumps(document)


def _model(models: Pool, folder: Path) -> dict[str, Any]:
    """The base LLM's table, as it has to read in the new folder."""
    config = models.models[models.base]
    table: dict[str, Any] = config.model_dump(mode="json", exclude_unset=True)
    if isinstance(config, EmbeddedModel):
        if config.template_file is not None:
            raise PoolError(
                f"the base LLM of {models.name} has a chat template in a file, which would not lie beside the new "
                "pool; name a pool without template_file with --pool"
            )
        table["gguf"] = moved_path(config.gguf, models.folder, folder) or config.gguf
    return table


def _record(statements: Sequence[str], shares: Shares, counts: Counts) -> list[Mapping[str, Any]]:
    """The rows of a record: those statements on which somebody has voted, with the smoothed shares and the votes."""
    rows: list[Mapping[str, Any]] = []
    for statement, share, votes in zip(statements, shares, counts, strict=True):
        if votes.sum():
            told = [round(float(each), 6) for each in share[:-1]]
            row = {
                "question": statement,
                "options": "|".join(OPTIONS),
                "distribution": json.dumps([*told, round(1 - sum(told), 6)]),
                "answers": int(votes.sum()),
            }
            rows.append(row | {option.lower(): int(vote) for option, vote in zip(OPTIONS, votes, strict=True)})
    return rows


def _write(folder: Path, pool: str, records: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Make the folder with all that is in it, or leave nothing."""
    part: Path | None = None
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise PoolError(f"{folder} is there already; name a new folder with --out")
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".polis-", dir=folder.parent))
        part.chmod(0o755)  # as any new folder, and not the owner's alone
        (part / "records").mkdir()
        for name, rows in records.items():
            with (part / "records" / f"{name}.csv").open("x", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
        (part / "pool.toml").write_text(pool, encoding="utf-8")
        part.replace(folder)
    except OSError as error:
        raise PoolError(f"{folder} cannot be written ({error.strerror or error}); name another with --out") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
