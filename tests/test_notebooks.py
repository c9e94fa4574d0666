"""The notebooks run from top to bottom, and what is kept of their output is small and tells no place.

The first one runs on the real model, whose output a reader sees; the others are held to their steps.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks() -> None:
    assert [path.name[:2] for path in NOTEBOOKS][:6] == ["01", "02", "03", "04", "05", "06"]


@pytest.mark.documents
@pytest.mark.parametrize(
    "path", [pytest.param(NOTEBOOKS[0], marks=pytest.mark.model), *NOTEBOOKS[1:]], ids=lambda path: path.stem
)
def test_a_notebook_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient  # takes long

    monkeypatch.setenv("STEPS", "3")  # of the training in 06, which has sixty for a reader
    notebook = read(path)
    kept = [len(cell.outputs) > 0 for cell in cells(notebook)]
    where = {"metadata": {"path": str(FOLDER)}}
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where)
    asyncio.run(client.async_execute())
    assert [len(cell.outputs) > 0 for cell in cells(notebook)] == kept
    assert not [output for cell in cells(notebook) for output in cell.outputs if output.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_kept_reads_well(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert any(cell.outputs for cell in cells(notebook)), "run `make notebooks`"
    assert path.stat().st_size < 100_000
    text = path.read_text()
    assert "\\u001b" not in text
    assert not re.search(r"/(?:home|root|work|tmp|Users)/", text)
    assert not any("execution" in cell.metadata for cell in cells(notebook))
