"""What a training has come to, on disk: whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from modular_pluralism.errors import TrainingError
from modular_pluralism.optional import optional
from modular_pluralism.replaced_file import replaced_path
from modular_pluralism.training.base_model import PURPOSE

_FILE = "checkpoint.pt"


class Checkpoints:
    """The last checkpoint of one training, in a folder of its own, which `remove` takes away.

    `fingerprint` tells trainings apart: data, base and settings.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder = folder
        self._fingerprint = fingerprint

    @property
    def exists(self) -> bool:
        """Whether there is a checkpoint, of whatever training."""
        return (self._folder / _FILE).exists()

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint, or None where there is none.

        Raises:
            TrainingError: it is another training's, or cannot be read.
        """
        torch = optional("torch", "train", PURPOSE)
        path = self._folder / _FILE
        if not self.exists:
            return None
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        except Exception as error:  # what torch raises of a broken file has no common class
            raise TrainingError(
                f"The checkpoint {path} cannot be read ({type(error).__name__}); start anew with --restart."
            ) from error
        if state.get("fingerprint") != self._fingerprint:
            raise TrainingError(
                f"{self._folder} holds the checkpoint of a training with other data or settings; go on with those, or "
                "start anew with --restart."
            )
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Keep this state in the place of the last one.

        Raises:
            TrainingError: it cannot be written; the last one stays.
        """
        torch = optional("torch", "train", PURPOSE)
        try:
            with replaced_path(self._folder / _FILE) as part:
                torch.save(state | {"fingerprint": self._fingerprint}, part)
        except (OSError, RuntimeError) as error:  # RuntimeError: torch's, where the disk is full
            raise TrainingError(
                f"A checkpoint cannot be written to {self._folder} ({_reason(error)}); make room, or allow writing "
                "there, and run the same command again."
            ) from error

    def remove(self) -> None:
        """Take the folder away."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
