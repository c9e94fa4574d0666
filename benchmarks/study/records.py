"""The parts of the study in which nobody speaks but records: no training, no language model, minutes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.study.parts import Part
from benchmarks.study.polis_records import polis_sheets
from benchmarks.study.survey_records import record_sheets
from benchmarks.study.tables import Sheet
from modular_pluralism.polis.export import COMMENTS
from modular_pluralism.records.similarity import Similarity


class RecordPart(NamedTuple):
    """Its heading, and the part whose rows make the records; None for Polis conversations."""

    title: str
    of: str | None = None


RECORD_PARTS = {
    "polis_records": RecordPart("Votes on statements that a group has not seen (Polis)"),
    "opinion_records": RecordPart("Opinion groups by their records (OpinionQA)", "opinion_groups"),
    "continent_records": RecordPart("Five continents by their records (GlobalOpinionQA)", "continents"),
}


def sheets_of_records(
    name: str,
    part: Callable[[str], Part],
    conversations: Path,
    similar: Mapping[str, Similarity],
    *,
    seed: int,
    limit: int | None,
) -> list[Sheet]:
    """The tables of one of RECORD_PARTS. `part` gives a part by its name, `conversations` is the folder of Polis's
    exports, and `limit` is how many items of a survey file are measured on (None: all).

    Raises:
        ValueError: there is no export in the folder, or no file.
        TrainingDataError: a file cannot be used.
    """
    of = RECORD_PARTS[name].of
    if of is not None:
        return record_sheets(part(of), similar, seed=seed, limit=limit)
    folders = sorted(path.parent for path in conversations.glob(f"*/{COMMENTS}"))
    if not folders:
        raise ValueError(f"There is no export of Polis in {conversations}; unpack some there, each in its folder.")
    return polis_sheets(folders, similar, seed=seed)
