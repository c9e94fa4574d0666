"""docs/licences.md tells what requirements.lock brings, and `make licences` refuses the GPL."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from importlib.metadata import Distribution, version
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[1] / "install" / "licences.py"))
licence: Callable[[Distribution], str] = SCRIPT["licence"]


def package(folder: Path, metadata: str) -> Distribution:
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: some\nVersion: 1\n{metadata}\n")
    return Distribution.at(folder)


def test_the_page_is_what_the_lock_brings() -> None:
    written = SCRIPT["PAGE"].read_text()
    rows = [line.split(" | ") for line in written.splitlines() if line.startswith("| ") and "package" not in line]
    told, pins = {row[0][2:]: row[1] for row in rows}, SCRIPT["locked"]()
    assert {name: found for name, found in told.items() if found != pins.get(name, "any")} == {}
    if all(Version(version(name)).public == pins.get(name, Version(version(name)).public) for name in told):
        assert SCRIPT["page"]() == written, "run `make licences`"


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ("License-Expression: MIT OR Apache-2.0", "MIT OR Apache-2.0"),
        ("License: BSD", "BSD"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
        ("License: Copyright us\n        and more\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
        ("License-Expression: LGPL-3.0-only", "LGPL-3.0-only"),
        ("License: GNU Lesser General Public License v3", "GNU Lesser General Public License v3"),
    ],
)
def test_a_licence_is_told_in_the_packages_words(tmp_path: Path, metadata: str, said: str) -> None:
    assert licence(package(tmp_path, metadata)) == said


@pytest.mark.parametrize(
    "metadata",
    [
        "License-Expression: AGPL-3.0-or-later",
        "License: GPLv2",
        "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
        "License: ours\nClassifier: License :: OSI Approved :: GNU Affero General Public License v3",
        "Summary: without any",
    ],
)
def test_the_gpl_and_no_licence_are_refused(tmp_path: Path, metadata: str) -> None:
    with pytest.raises(SCRIPT["LicenceError"], match=r"some (is under|says nothing)"):
        licence(package(tmp_path, metadata))
