"""Everything that modular-pluralism raises on purpose, under one base class.

A message is one clear sentence: what is wrong, where, and what to do next. `exit_code` is what the
command line returns: 2 where the call or its configuration was wrong, 1 where a run failed.
"""

from __future__ import annotations


class PluralismError(RuntimeError):
    """Base class: catch this to catch everything raised on purpose here.

    A RuntimeError, since LangGraph's server tells its clients the message of those, and only the name of most others.
    """

    exit_code = 1


class InputError(PluralismError):
    """The question, the options, the attribute or a setting of the call is unusable."""

    exit_code = 2


class PoolError(PluralismError):
    """A pool file is missing, cannot be read, or says something that cannot be."""

    exit_code = 2


class PromptError(PluralismError):
    """A prompt file is missing, has a bad header, or does not use the variables that it declares."""

    exit_code = 2


class ModelLoadError(PluralismError):
    """A model or an adapter cannot be found or loaded."""

    exit_code = 2


class ModelCallError(PluralismError):
    """A model was asked, retries included, and gave no usable reply."""


class NoUsableReplyError(ModelCallError):
    """None of so many `replies` could be understood, where they had to be parsed."""

    def __init__(self, message: str, replies: int) -> None:
        super().__init__(message)
        self.replies = replies


class EngineFullError(ModelCallError):
    """More requests are waiting for the engine than its queue holds; a retry may find room."""


class ContextOverflowError(PluralismError):
    """A prompt does not fit into the model's context; the message gives both lengths in tokens."""


class EngineClosedError(PluralismError):
    """The engine was closed while this request was waiting or running."""


class DeadlineError(PluralismError):
    """A model call took longer than its deadline."""


class QuorumError(PluralismError):
    """Fewer communities answered than the run's quorum; the message names the missing and their reasons."""


class PreparationError(PluralismError):
    """A model could not be written in another format: no room, no permission, or llama.cpp refused it."""


class TaskFileError(PluralismError):
    """A task file is missing, cannot be read, or says something that cannot be; the message names item and field."""

    exit_code = 2


class EvaluationError(PluralismError):
    """An evaluation's folder cannot be used: it is another evaluation's, in use, or cannot be written."""

    exit_code = 2
