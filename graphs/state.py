"""The typed state of each graph. It is JSON-serialisable and holds no key, so a checkpoint of it is complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Required, TypeVar

from typing_extensions import TypedDict

from modular_pluralism.checked import shown
from modular_pluralism.errors import InputError
from modular_pluralism.societal.choice import ChoiceName
from modular_pluralism.societal.standing import Standing
from modular_pluralism.societal.table import Normalise
from modular_pluralism.societal.tally import Tally
from modular_pluralism.societal.uncertainty import Uncertainty
from modular_pluralism.types import (
    Ballot,
    Candidate,
    Comment,
    Mode,
    OptionDistribution,
    Repair,
    Selection,
    Status,
    ToolCall,
    Turn,
    Usage,
)

V = TypeVar("V")


def by_community(old: dict[str, V] | None, new: dict[str, V] | None) -> dict[str, V]:
    """Reducer: parallel branches each add their own entry, and None empties the state for a new run."""
    if new is not None and not isinstance(new, dict):
        raise InputError(f"What belongs to the communities is {shown(new)}; write a dict by their names.")
    return {} if new is None else {**(old or {}), **new}


BY_COMMUNITY = ("comments", "distributions", "votes", "records", "candidates", "ballots")
"""The keys of a state to which parallel branches each add their own entry. Candidates that rest on nobody's comment
alone stand among those that are called as their communities."""


def in_pool_order(state: Mapping[str, Any], communities: Sequence[str]) -> dict[str, Any]:
    """The state with what belongs to single communities in the pool's order, and what is nobody's before it."""
    return {
        key: _in_order(value, communities) if key in (*BY_COMMUNITY, "readings") and value else value
        for key, value in state.items()
    }


def _in_order(by_name: Mapping[str, Any], communities: Sequence[str]) -> dict[str, Any]:
    others = [name for name in by_name if name not in communities]
    return {name: by_name[name] for name in (*others, *communities) if name in by_name}


class Question(TypedDict, total=False):
    """What every mode is asked. `seed` makes a run repeatable (default 0), and `history` is what was said before the
    question, which every model is told.

    `tools` and `tool_choice`, as OpenAI has them, are for the base LLM where it writes the answer, and so are
    `tool_messages`: the calls that it has made since the question, and what came back. Nobody else is told of them;
    where no answer is written, they are refused.

    On a thread, that is with a checkpointer, a question has nothing of the one before: a part that is left out is None.
    """

    question: Required[str]
    seed: int | None
    history: list[Turn] | None
    tools: list[dict[str, Any]] | None
    tool_choice: Any
    tool_messages: list[dict[str, Any]] | None


class OvertonQuestion(Question, total=False):
    """Overton takes neither: they are here to be refused, since LangGraph would pass them over without a word."""

    attribute: None
    options: None


class SteerableQuestion(Question, total=False):
    """`options` are optional: with them the answer is a choice, without it is a text."""

    attribute: Required[str]
    options: list[str] | None


class DistributionalQuestion(Question, total=False):
    """Two to 26 options. With an `attribute`, such as a country, the distribution is that of those people: the base LLM
    is told when it scores the comments, as in the paper; the communities are not. `priors` weigh the communities for
    this question, in the place of the pool's: relative to each other, and one that is left out has no weight."""

    options: Required[list[str]]
    attribute: str | None
    priors: dict[str, float] | None


class AssemblyQuestion(Question, total=False):
    """`choose` names the rule by which the answer is chosen among the candidates, and `normalise` what is made of
    the members' scores before that. `priors` are the communities' weights for this question, in the place of the
    pool's: relative to each other, and one that is left out has no weight. `contract` are the rules for the answer,
    in plain values as `Contract.data` has them, and `rounds` how often an answer that breaks them is mended
    (default 2). The `attribute` says which of the rules are for the question, where some have a scope; no model is
    told it. With `hearing`, the run waits for people before it ends.
    """

    attribute: str | None
    options: None
    priors: dict[str, float] | None
    choose: ChoiceName | None
    normalise: Normalise | None
    contract: dict[str, Any] | None
    rounds: int | None
    hearing: bool | None


class BaselineQuestion(Question, total=False):
    """What a baseline is asked: of any mode."""

    attribute: str | None
    options: list[str] | None


class CommentsQuestion(Question, total=False):
    """What communities are asked that only comment. The options are told to them; the attribute is for stages of your
    own."""

    attribute: str | None
    options: list[str] | None


class PluralismQuestion(Question, total=False):
    """A question for the mode that it names, with what that mode needs."""

    mode: Required[Mode]
    attribute: str | None
    options: list[str] | None
    priors: dict[str, float] | None
    choose: ChoiceName | None
    normalise: Normalise | None
    contract: dict[str, Any] | None
    rounds: int | None
    hearing: bool | None


class Commented(TypedDict, total=False):
    """What every mode's communities leave behind. `missing` names those that failed.

    Of what a run writes, a key that has no value (yet) is absent, or None where an earlier run on the thread had one.
    """

    comments: Annotated[dict[str, Comment], by_community]
    missing: list[str] | None


class OvertonResult(Commented, total=False):
    """Overton: one answer that covers the spectrum of views, and in `usage` what it cost and how it finished. Where it
    follows a schema, its value is in `structured`; where it calls tools, `tool_calls` has them, and the text may be
    empty."""

    answer: str | None
    tool_calls: list[ToolCall] | None
    structured: Any
    usage: Usage | None


class OvertonState(OvertonQuestion, OvertonResult, total=False):
    """Overton's question and its result."""


class SteerableResult(Commented, total=False):
    """Steerable: the selected community, and the answer in the light of its comment. Where a text follows a schema, its
    value is in `structured`; where it calls tools, `tool_calls` has the calls, and the text may be empty."""

    selected: Selection | None
    answer: str | None
    tool_calls: list[ToolCall] | None
    structured: Any
    usage: Usage | None
    choice: str | None
    distribution: OptionDistribution | None


class SteerableState(SteerableQuestion, SteerableResult, total=False):
    """A steerable question and its result."""


class DistributionalResult(Commented, total=False):
    """Distributional: the pooled distribution in the order of the options, and what it was pooled from.

    Where communities are heard by several voices, `votes` has their own distributions, `records` what their people have
    answered, `readings` what the base LLM read in their comments, and `distributions` those of each community united.
    `pooling` says how they were pooled, where that is not linearly:
    "log-linear", "median", or "own".
    """

    distributions: Annotated[dict[str, OptionDistribution], by_community]
    votes: Annotated[dict[str, OptionDistribution] | None, by_community]
    records: Annotated[dict[str, OptionDistribution] | None, by_community]
    readings: dict[str, OptionDistribution] | None
    distribution: list[float] | None
    label_mass: float | None
    disagreement: float | None
    weights: dict[str, float] | None
    pooling: str | None


class DistributionalState(DistributionalQuestion, DistributionalResult, total=False):
    """A distributional question and its result."""


class AssemblyResult(Commented, total=False):
    """Assembly: the answer, and its minutes.

    `candidates` are what was chosen among, and `ballots` what each member says of them. `candidate` is the one that the
    answer is. `tally` has the table of both, the winner by every rule, and who is worst off with it; it is None where
    there was only one candidate, so that nothing was chosen. `uncertainty` tells apart how far the members disagree,
    how far each doubts, and how good the reading is. `usage` is what the answer cost.

    Under a contract, `standing` says how every candidate stands by it, and `status` how the answer does: "kept",
    "breached" where it breaks a must, or "unsure". `repairs` are the rounds in which it was mended, and `rounds_left`
    how many more there are while it is breached.

    Where there was a hearing, `submissions` are what people have submitted, and `weights` those that they have changed;
    `waits` is whether they are still to be heard.
    """

    candidates: Annotated[dict[str, Candidate] | None, by_community]
    ballots: Annotated[dict[str, list[Ballot]] | None, by_community]
    answer: str | None
    candidate: str | None
    tally: Tally | None
    uncertainty: Uncertainty | None
    usage: Usage | None
    standing: dict[str, Standing] | None
    status: Status | None
    repairs: list[Repair] | None
    rounds_left: int | None
    submissions: list[dict[str, Any]] | None
    weights: dict[str, float] | None
    waits: bool | None


class AssemblyState(AssemblyQuestion, AssemblyResult, total=False):
    """A question for an assembly, and its answer with the minutes."""


class CommentsResult(Commented, total=False):
    """The communities' comments alone."""


class CommentsState(CommentsQuestion, CommentsResult, total=False):
    """A question for comments, and the comments."""


class CommentOutput(TypedDict, total=False):
    """What the branch of a community that only comments gives back to its graph."""

    comments: Annotated[dict[str, Comment], by_community]


class DraftOutput(CommentOutput, total=False):
    """What the branch of a community gives back to an assembly's graph."""

    candidates: Annotated[dict[str, Candidate] | None, by_community]


class BranchOutput(CommentOutput, total=False):
    """What one community's branch of the distributional graph gives back to it."""

    distributions: Annotated[dict[str, OptionDistribution], by_community]
    votes: Annotated[dict[str, OptionDistribution] | None, by_community]
    records: Annotated[dict[str, OptionDistribution] | None, by_community]


class PluralismResult(Commented, total=False):
    """The union of the modes' results."""

    candidates: Annotated[dict[str, Candidate] | None, by_community]
    ballots: Annotated[dict[str, list[Ballot]] | None, by_community]
    candidate: str | None
    tally: Tally | None
    uncertainty: Uncertainty | None
    standing: dict[str, Standing] | None
    status: Status | None
    repairs: list[Repair] | None
    rounds_left: int | None
    submissions: list[dict[str, Any]] | None
    waits: bool | None
    answer: str | None
    tool_calls: list[ToolCall] | None
    structured: Any
    usage: Usage | None
    selected: Selection | None
    choice: str | None
    distributions: Annotated[dict[str, OptionDistribution], by_community]
    votes: Annotated[dict[str, OptionDistribution] | None, by_community]
    records: Annotated[dict[str, OptionDistribution] | None, by_community]
    readings: dict[str, OptionDistribution] | None
    distribution: list[float] | OptionDistribution | None
    label_mass: float | None
    disagreement: float | None
    weights: dict[str, float] | None
    pooling: str | None


class PluralismState(PluralismQuestion, PluralismResult, total=False):
    """The union of the modes' states."""


class BaselineResult(Commented, total=False):
    """A baseline's answer; `selected` and a comment are there for MoE only."""

    selected: Selection | None
    answer: str | None
    usage: Usage | None
    choice: str | None
    distribution: OptionDistribution | None


class BaselineState(BaselineQuestion, BaselineResult, total=False):
    """A question for a baseline, and its answer."""


def typed(name: str, keys: dict[str, Any]) -> type:
    """A TypedDict that is made while the program runs."""
    made: type = TypedDict(name, keys, total=False)  # type: ignore[misc]
    return made
