# What is importable from the package's root, and which module has it. Type checkers and editors read this file, and so
# does __init__.py: it imports a module when one of its names is first used.
# ruff: noqa: I001 - an import of each module, with the names that it has, in place of one for each name

from modular_pluralism.errors import (
    AdapterError as AdapterError,
    ChatTemplateError as ChatTemplateError,
    ConfigurationError as ConfigurationError,
    ContextError as ContextError,
    ContextOverflowError as ContextOverflowError,
    ContractError as ContractError,
    DeadlineError as DeadlineError,
    EngineClosedError as EngineClosedError,
    EngineFullError as EngineFullError,
    EvaluationError as EvaluationError,
    InputError as InputError,
    ModelCallError as ModelCallError,
    ModelLoadError as ModelLoadError,
    NoEvidenceError as NoEvidenceError,
    NoLogProbabilitiesError as NoLogProbabilitiesError,
    NoRoomError as NoRoomError,
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
    UnkeptError as UnkeptError,
)
from modular_pluralism.estimates import estimate as estimate
from modular_pluralism.graphs import (
    NodeCache as NodeCache,
    build_assembly as build_assembly,
    build_comments as build_comments,
    build_conversation as build_conversation,
    build_distributional as build_distributional,
    build_moe as build_moe,
    build_overton as build_overton,
    build_pluralism as build_pluralism,
    build_prompting as build_prompting,
    build_steerable as build_steerable,
    build_vanilla as build_vanilla,
)
from modular_pluralism.graphs.state import (
    AssemblyQuestion as AssemblyQuestion,
    AssemblyResult as AssemblyResult,
    AssemblyState as AssemblyState,
    BaselineQuestion as BaselineQuestion,
    BaselineResult as BaselineResult,
    BaselineState as BaselineState,
    CommentsQuestion as CommentsQuestion,
    CommentsResult as CommentsResult,
    CommentsState as CommentsState,
    DistributionalQuestion as DistributionalQuestion,
    DistributionalResult as DistributionalResult,
    DistributionalState as DistributionalState,
    OvertonQuestion as OvertonQuestion,
    OvertonResult as OvertonResult,
    OvertonState as OvertonState,
    PluralismQuestion as PluralismQuestion,
    PluralismResult as PluralismResult,
    PluralismState as PluralismState,
    Question as Question,
    SteerableQuestion as SteerableQuestion,
    SteerableResult as SteerableResult,
    SteerableState as SteerableState,
)
from modular_pluralism.hardware import Hardware as Hardware
from modular_pluralism.llama import (
    ChatLlama as ChatLlama,
    LlamaEmbeddings as LlamaEmbeddings,
    close_engines as close_engines,
)
from modular_pluralism.models.pool_models import PoolModels as PoolModels
from modular_pluralism.modes import (
    ModeDescription as ModeDescription,
    Takes as Takes,
    find_mode as find_mode,
    register_mode as register_mode,
)
from modular_pluralism.nodes.own import (
    CommentStage as CommentStage,
    Merge as Merge,
    PoolingFunction as PoolingFunction,
    Respond as Respond,
    Selector as Selector,
)
from modular_pluralism.nodes.request import Request as Request
from modular_pluralism.pool import (
    Community as Community,
    EmbeddedModel as EmbeddedModel,
    LangChainModel as LangChainModel,
    Pool as Pool,
    RemoteModel as RemoteModel,
    RunSettings as RunSettings,
)
from modular_pluralism.prompts import Prompt as Prompt, PromptSet as PromptSet
from modular_pluralism.runs import open_store as open_store
from modular_pluralism.societal.choice import ChoiceName as ChoiceName
from modular_pluralism.societal.contract import Contract as Contract
from modular_pluralism.societal.rule import Rule as Rule
from modular_pluralism.societal.standing import Standing as Standing
from modular_pluralism.societal.table import Normalise as Normalise
from modular_pluralism.societal.tally import Tally as Tally
from modular_pluralism.societal.uncertainty import Uncertainty as Uncertainty
from modular_pluralism.tool import pluralism_tool as pluralism_tool
from modular_pluralism.types import (
    Ballot as Ballot,
    CalledFunction as CalledFunction,
    Candidate as Candidate,
    Comment as Comment,
    CommentEvidence as CommentEvidence,
    Cost as Cost,
    Draft as Draft,
    Estimate as Estimate,
    Event as Event,
    Evidence as Evidence,
    EvidenceTold as EvidenceTold,
    Happened as Happened,
    Heard as Heard,
    HeardComment as HeardComment,
    HeardQuestion as HeardQuestion,
    HeardSelected as HeardSelected,
    ItemScoring as ItemScoring,
    MemberKind as MemberKind,
    MethodName as MethodName,
    Mode as Mode,
    OptionDistribution as OptionDistribution,
    Pooling as Pooling,
    RecordedAnswer as RecordedAnswer,
    Repair as Repair,
    Reply as Reply,
    RoleEstimate as RoleEstimate,
    Scoring as Scoring,
    Selection as Selection,
    Status as Status,
    Strength as Strength,
    Style as Style,
    ToldAnswer as ToldAnswer,
    ToolCall as ToolCall,
    Turn as Turn,
    Usage as Usage,
    Verdict as Verdict,
    Voice as Voice,
    VoicePooling as VoicePooling,
    Voices as Voices,
)

__version__: str
__all__: list[str]
