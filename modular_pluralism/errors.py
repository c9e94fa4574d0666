"""Everything that modular-pluralism raises on purpose, under one base class.

    PluralismError                 catch this to catch them all
    ├── ConfigurationError         the call or its configuration is wrong, so trying again cannot help
    │   ├── InputError
    │   │   └── ContextError
    │   ├── PoolError
    │   ├── ContractError
    │   ├── PromptError
    │   ├── ModelLoadError
    │   ├── NoLogProbabilitiesError
    │   ├── TaskFileError
    │   ├── EvaluationError
    │   ├── TrainingDataError
    │   └── AdapterError
    ├── ModelCallError
    │   ├── ChatTemplateError
    │   ├── NoRoomError
    │   ├── NoUsableReplyError
    │   └── EngineFullError
    ├── ContextOverflowError
    ├── DeadlineError
    ├── EngineClosedError
    ├── NoEvidenceError
    ├── QuorumError
    ├── PreparationError
    ├── TrainingError
    └── StoreError
        ├── RunInUseError
        └── UnkeptError

A message is one clear sentence: what is wrong, where, and what to do next.
"""

from __future__ import annotations

from typing import Any


def _unpickled(kind: type[PluralismError], *arguments: object) -> PluralismError:
    return kind.__new__(kind, *arguments)


class PluralismError(RuntimeError):
    """Base class: catch this to catch everything raised on purpose here.

    A RuntimeError, since LangGraph's server tells its clients the message of those, and only the name of most others.

    Example:
        ```python
        from modular_pluralism import Pool, PluralismError

        try:
            Pool.load("no-such-pool")
        except PluralismError as error:
            print(error)
        ```
    """

    exit_code = 1
    """What the command line returns."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Some have more than a message: unpickling, as another process's result is, would call __init__ without that.
        return _unpickled, (type(self), *self.args), self.__dict__


class ConfigurationError(PluralismError):
    """The call or its configuration is wrong: whatever is asked next fails in the same way, until that is mended."""

    exit_code = 2


class InputError(ConfigurationError):
    """The question, the options, the attribute or a setting of the call is unusable."""


class ContextError(InputError, ValueError):
    """A client's choice of a pool or of prompts is unusable.

    A ValueError too, since LangGraph's server keeps the messages of most other errors from its clients: that a pool of
    the operator's cannot be read, and where it lies, is not for them.
    """


class PoolError(ConfigurationError):
    """A pool file is missing, cannot be read, or says something that cannot be."""


class ContractError(ConfigurationError):
    """A contract file is missing, cannot be read, or has a rule that cannot be."""


class PromptError(ConfigurationError):
    """A prompt file is missing, has a bad header, or does not use the variables that it declares."""


class ModelLoadError(ConfigurationError):
    """A model or an adapter cannot be found or loaded."""


class NoLogProbabilitiesError(ConfigurationError):
    """The endpoint does not report log-probabilities; its replies have to be sampled or parsed instead."""


class TaskFileError(ConfigurationError):
    """A task file is missing, cannot be read, or says something that cannot be; the message names item and field."""


class EvaluationError(ConfigurationError):
    """An evaluation's folder cannot be used: it is another evaluation's, in use, or cannot be written."""


class TrainingDataError(ConfigurationError):
    """A data file cannot be read, or what it says cannot be learnt; the message names the file and the row."""


class AdapterError(ConfigurationError):
    """A PEFT adapter cannot be read, or cannot be turned into one that llama.cpp adds to this base."""


class ModelCallError(PluralismError):
    """A model was asked, retries included, and gave no usable reply."""


class ChatTemplateError(ModelCallError):
    """A model's chat template refuses the messages, or fails of them."""


class NoRoomError(ModelCallError):
    """Reasoning has taken all the tokens that a reply could have."""


class NoUsableReplyError(ModelCallError):
    """None of so many `replies` could be understood, where they had to be parsed; `problem` is what is wrong with the
    last one, where that is known."""

    def __init__(self, message: str, replies: int, problem: str = "") -> None:
        super().__init__(message)
        self.replies = replies
        self.problem = problem


class EngineFullError(ModelCallError):
    """More requests are waiting for the engine than its queue holds; a retry may find room."""


class ContextOverflowError(PluralismError):
    """A prompt does not fit into the model's context; the message gives both lengths in tokens."""


class DeadlineError(PluralismError):
    """A model call took longer than its deadline."""


class NoEvidenceError(PluralismError):
    """A record has nothing near the question, or no options that fit it; its community counts as missing."""


class EngineClosedError(PluralismError):
    """The engine was closed while this request was waiting or running."""


class QuorumError(PluralismError):
    """Fewer communities answered than the run's quorum; the message names the missing and their reasons."""


class PreparationError(PluralismError):
    """A model could not be written in another format: no room, no permission, or llama.cpp refused it."""


class TrainingError(PluralismError):
    """A training cannot start or go on: the base does not allow it, its files cannot be written, or it diverged."""


class StoreError(PluralismError):
    """A store of runs cannot be opened, read or written, or holds something that must not be read."""


class RunInUseError(StoreError):
    """Another process is at work on this run."""


class UnkeptError(StoreError):
    """A run has its result, `state`, which the store could not take."""

    def __init__(self, message: str, state: dict[str, Any]) -> None:
        super().__init__(message)
        self.state = state
