"""What can go wrong while a community LM is made."""

from __future__ import annotations

from modular_pluralism.errors import PluralismError


class TrainingDataError(PluralismError):
    """A data file cannot be read, or what it says cannot be learnt; the message names the file and the row."""

    exit_code = 2


class TrainingError(PluralismError):
    """A training cannot start or go on: the base does not allow it, its files cannot be written, or it diverged."""


class AdapterError(PluralismError):
    """A PEFT adapter cannot be read, or cannot be turned into one that llama.cpp adds to this base."""

    exit_code = 2
