"""What docs/models.md says of each architecture is what its tiny model does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architectures import ARCHITECTURES, Architecture
from tests.model_table import heading, row, written_rows


def test_the_table_has_a_row_for_each_architecture() -> None:
    written = written_rows()
    assert written[:2] == heading()
    assert [line.split("|")[1].strip() for line in written[2:]] == [f"`{each.name}`" for each in ARCHITECTURES]


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda architecture: architecture.name)
def test_a_row_is_what_is_measured(architecture: Architecture, tmp_path: Path) -> None:
    written = {line.split("|")[1].strip("` "): line for line in written_rows()}
    assert row(architecture, tmp_path) == written[architecture.name]
