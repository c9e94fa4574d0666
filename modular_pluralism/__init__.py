"""Modular Pluralism: answers that reflect more than one community's view (Feng et al., EMNLP 2024).

Everything that an application needs is importable from here; it is loaded when it is first used.

"""

# ruff: noqa: I001 - an import of each module, with the names that it has, in place of one for each name
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the table below once more, for type checkers and editors, which do not run it
    from modular_pluralism.errors import (
        AdapterError as AdapterError,
        ConfigurationError as ConfigurationError,
        ContextError as ContextError,
        ContextOverflowError as ContextOverflowError,
        DeadlineError as DeadlineError,
        EngineClosedError as EngineClosedError,
        EngineFullError as EngineFullError,
        EvaluationError as EvaluationError,
        InputError as InputError,
        ModelCallError as ModelCallError,
        ModelLoadError as ModelLoadError,
        NoLogProbabilitiesError as NoLogProbabilitiesError,
        NoUsableReplyError as NoUsableReplyError,
        PluralismError as PluralismError,
        PoolError as PoolError,
        PreparationError as PreparationError,
        PromptError as PromptError,
        QuorumError as QuorumError,
        RunInUseError as RunInUseError,
        StoreError as StoreError,
        TaskFileError as TaskFileError,
        TrainingDataError as TrainingDataError,
        TrainingError as TrainingError,
    )
    from modular_pluralism.graphs import (
        NodeCache as NodeCache,
        build_distributional as build_distributional,
        build_moe as build_moe,
        build_overton as build_overton,
        build_pluralism as build_pluralism,
        build_prompting as build_prompting,
        build_steerable as build_steerable,
        build_vanilla as build_vanilla,
    )
    from modular_pluralism.graphs.state import (
        BaselineQuestion as BaselineQuestion,
        BaselineState as BaselineState,
        DistributionalQuestion as DistributionalQuestion,
        DistributionalState as DistributionalState,
        OvertonQuestion as OvertonQuestion,
        OvertonState as OvertonState,
        PluralismQuestion as PluralismQuestion,
        PluralismState as PluralismState,
        PluralismTwoVoicesState as PluralismTwoVoicesState,
        Question as Question,
        SteerableQuestion as SteerableQuestion,
        SteerableState as SteerableState,
        TwoVoicesState as TwoVoicesState,
    )
    from modular_pluralism.llama import ChatLlama as ChatLlama, close_engines as close_engines
    from modular_pluralism.models.pool_models import PoolModels as PoolModels
    from modular_pluralism.modes import (
        ModeDescription as ModeDescription,
        Takes as Takes,
        find_mode as find_mode,
        register_mode as register_mode,
    )
    from modular_pluralism.nodes.request import Request as Request
    from modular_pluralism.pool import (
        CommunityConfig as CommunityConfig,
        EmbeddedModel as EmbeddedModel,
        Pool as Pool,
        RemoteModel as RemoteModel,
        RunSettings as RunSettings,
    )
    from modular_pluralism.prompts import Prompt as Prompt, PromptSet as PromptSet
    from modular_pluralism.runs import open_store as open_store
    from modular_pluralism.tool import pluralism_tool as pluralism_tool
    from modular_pluralism.types import (
        Comment as Comment,
        ItemScoring as ItemScoring,
        MethodName as MethodName,
        Mode as Mode,
        OptionDistribution as OptionDistribution,
        Pooling as Pooling,
        Reply as Reply,
        Scoring as Scoring,
        Selection as Selection,
        Style as Style,
        Usage as Usage,
        Voice as Voice,
    )

__version__ = "0.1.0"

_MODULES = {
    "errors": [
        "AdapterError",
        "ConfigurationError",
        "ContextError",
        "ContextOverflowError",
        "DeadlineError",
        "EngineClosedError",
        "EngineFullError",
        "EvaluationError",
        "InputError",
        "ModelCallError",
        "ModelLoadError",
        "NoLogProbabilitiesError",
        "NoUsableReplyError",
        "PluralismError",
        "PoolError",
        "PreparationError",
        "PromptError",
        "QuorumError",
        "RunInUseError",
        "StoreError",
        "TaskFileError",
        "TrainingDataError",
        "TrainingError",
    ],
    "graphs": [
        "NodeCache",
        "build_distributional",
        "build_moe",
        "build_overton",
        "build_pluralism",
        "build_prompting",
        "build_steerable",
        "build_vanilla",
    ],
    "graphs.state": [
        "BaselineQuestion",
        "BaselineState",
        "DistributionalQuestion",
        "DistributionalState",
        "OvertonQuestion",
        "OvertonState",
        "PluralismQuestion",
        "PluralismState",
        "PluralismTwoVoicesState",
        "Question",
        "SteerableQuestion",
        "SteerableState",
        "TwoVoicesState",
    ],
    "llama": ["ChatLlama", "close_engines"],
    "models.pool_models": ["PoolModels"],
    "modes": ["ModeDescription", "Takes", "find_mode", "register_mode"],
    "nodes.request": ["Request"],
    "pool": ["CommunityConfig", "EmbeddedModel", "Pool", "RemoteModel", "RunSettings"],
    "prompts": ["Prompt", "PromptSet"],
    "runs": ["open_store"],
    "tool": ["pluralism_tool"],
    "types": [
        "Comment",
        "ItemScoring",
        "MethodName",
        "Mode",
        "OptionDistribution",
        "Pooling",
        "Reply",
        "Scoring",
        "Selection",
        "Style",
        "Usage",
        "Voice",
    ],
}
"""What is public, by the module that has it. LangGraph and llama.cpp take a second to import, which
`pluralism --help` should not cost."""
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
