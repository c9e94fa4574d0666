"""Run the notebooks from top to bottom, and keep what they print: python notebooks/run.py [NOTEBOOK ...]"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).resolve().parent


def run(path: Path) -> None:
    """Run one notebook in its folder, and write it with its output.

    Raises:
        CellExecutionError: a cell failed; the file is left as it was.
    """
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,  # which would make every run another file
        resources={"metadata": {"path": str(FOLDER)}},
    ).execute()
    nbformat.write(notebook, path)


def main() -> int:
    """See the top of this file."""
    for path in [Path(each) for each in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        began = time.monotonic()
        try:
            run(path)
        except CellExecutionError as error:
            print(f"{path.name} failed:\n{error}", file=sys.stderr)
            return 1
        print(f"{path.name}: {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
