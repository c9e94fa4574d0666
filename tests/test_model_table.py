"""What docs/models.md says of each architecture is what its tiny model does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architectures import ARCHITECTURES, Architecture
from tests.model_table import PROMPTS, heading, measured, row, written_rows
from tests.plain_llama import greedy


def test_the_table_has_a_row_for_each_architecture() -> None:
    written = written_rows()
    assert written[:2] == heading()
    assert [line.split("|")[1].strip() for line in written[2:]] == [f"`{each.name}`" for each in ARCHITECTURES]


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda architecture: architecture.name)
def test_a_row_is_what_is_measured(architecture: Architecture, tmp_path: Path) -> None:
    written = {line.split("|")[1].strip("` "): line for line in written_rows()}
    assert row(architecture, tmp_path) == written[architecture.name]


def test_what_a_copy_of_windows_does_not_hold_is_read_anew(tmp_path: Path) -> None:
    """A copy of a sequence holds one window: a prompt that branches off before it cannot begin with that copy."""
    gemma = next(each for each in ARCHITECTURES if each.name == "gemma3")
    branch = [*PROMPTS[3][:100], 9, 8]
    with measured(gemma, tmp_path) as model:
        model.text(PROMPTS[3])
        assert model.text(branch) == greedy(model.path, [branch], 8)[0]
        assert (model.engine.stats.copies, model.engine.stats.tokens_reused) == (0, 0)
