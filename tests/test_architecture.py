"""The newcomer's map names what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
MAP = (REPOSITORY / "docs" / "architecture.md").read_text()
NAMED = sorted(set(re.findall(r"`(?:modular_pluralism/|… )?([a-z_/]+(?:/|\.py))`", MAP)))


@pytest.mark.parametrize("name", NAMED)
def test_what_the_map_names_is_there(name: str) -> None:
    inside = [REPOSITORY, REPOSITORY / "modular_pluralism", REPOSITORY / "modular_pluralism" / "evaluation"]
    assert any((folder / name).exists() for folder in [*inside, inside[1] / "debugger"])


def test_every_part_of_the_package_is_on_the_map() -> None:
    folders = {f"{path.parent.name}/" for path in (REPOSITORY / "modular_pluralism").glob("*/__init__.py")}
    assert folders <= set(NAMED)
    assert {"graphs/", "nodes/", "prompts/"} <= set(NAMED)
