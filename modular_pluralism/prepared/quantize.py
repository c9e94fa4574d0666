"""Writing a model's weights in another format."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from modular_pluralism.errors import PreparationError
from modular_pluralism.llama.gguf_header import check_is_gguf
from modular_pluralism.llama.host import usable_cores
from modular_pluralism.prepared import quantize_process
from modular_pluralism.prepared.formats import WeightFormat


def quantize(source: Path, target: Path, weight_format: WeightFormat, *, threads: int | None = None) -> None:
    """Write the model of `source` to `target` in another format; weights that are quantised already are requantised.

    An interrupted call leaves no file. Adapters are not touched: they can be added to any format.

    Raises:
        PreparationError: llama.cpp could not read the source or write the target; nothing is left of the target.
    """
    program = [sys.executable, "-P", quantize_process.__file__, str(source), str(target)]
    numbers = [str(weight_format.file_type), str(threads or usable_cores())]
    done = False
    try:
        # `run` ends the process when this one is interrupted.
        ended = subprocess.run([*program, *numbers], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        if ended.returncode != 0:
            said = ended.stderr.decode("utf-8", "replace").strip().splitlines() or ["it gave no reason"]
            raise PreparationError(
                f"{source.name} could not be written as {weight_format.name} ({said[-1]}); check that there is room in "
                f"{target.parent} and that the model is a complete GGUF."
            )
        check_is_gguf(target)
        done = True
    finally:
        if not done:
            target.unlink(missing_ok=True)
