"""Making community LMs from data: a LoRA adapter for the engine, out of survey answers or texts."""

from __future__ import annotations

from modular_pluralism.errors import AdapterError, TrainingDataError, TrainingError
from modular_pluralism.training.peft_files import import_adapter
from modular_pluralism.training.settings import Base, TrainingSettings
from modular_pluralism.training.train import Data, train_community
from modular_pluralism.training.trained_files import Trained

__all__ = [
    "AdapterError",
    "Base",
    "Data",
    "Trained",
    "TrainingDataError",
    "TrainingError",
    "TrainingSettings",
    "import_adapter",
    "train_community",
]
