"""What the builders share: the pool with its models and prompts, and the fan-out to its communities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from langchain_core.runnables import Runnable
from langgraph.graph import END, START, StateGraph
from langgraph.types import CachePolicy
from langgraph.typing import InputT, OutputT, StateT

from modular_pluralism.errors import InputError, PoolError
from modular_pluralism.graphs.nesting import AskedGraph, NestingGraph
from modular_pluralism.graphs.node_key import NodeKey
from modular_pluralism.graphs.shape import written_keys
from modular_pluralism.graphs.state import CommentOutput, typed
from modular_pluralism.llama.reply_schema import ReplySchema
from modular_pluralism.models.answerer import OwnPart
from modular_pluralism.models.calls import Caller
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.modes import Need, Takes
from modular_pluralism.nodes.after_comment import after_comment
from modular_pluralism.nodes.answer import answer
from modular_pluralism.nodes.check import check
from modular_pluralism.nodes.comment import Speaker, comment, given
from modular_pluralism.nodes.evidence import EVIDENCE_PROMPTS
from modular_pluralism.nodes.gather import gather
from modular_pluralism.nodes.own import CommentStage
from modular_pluralism.nodes.request import check_scoring, check_seed
from modular_pluralism.nodes.step import QuestionParts, State, Step, StepNode
from modular_pluralism.nodes.tools import plain_tools
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Comment, EvidenceTold, Scoring

Models = PoolModels | Mapping[str, Runnable[Any, Any]] | None
Comments = Mapping[str, str | Comment] | None
"""Comments that are known before the run, by community: those communities are not asked."""


_GATHER = "gather"
ANYTHING = Takes("optional", "optional")
_MAY_BE: Mapping[Need, tuple[bool, ...]] = {"refused": (False,), "optional": (False, True), "required": (True,)}


class Parts:
    """Everything that a graph is built from, with what the caller of a builder left out."""

    def __init__(
        self,
        pool: Pool | str | Path,
        prompts: PromptSet | None,
        models: Models,
        mode: str = "",
        defaults: Mapping[str, Any] | None = None,
        comments: Comments = None,
        takes: Takes = ANYTHING,
        *,
        communities: Sequence[str] | None = None,
        after_comments: Sequence[CommentStage] = (),
        into: str | None = None,
        tools: Sequence[Any] | None = None,
        no_tools: str | None = None,
        evidence: EvidenceTold | None = None,
    ) -> None:
        """`pool` may be a built-in name or a file, and `communities` names those of it that are asked. `mode` is what
        callbacks are told; `defaults` are taken for parts of the question that it leaves out; `comments` are known
        already, and `after_comments` are stages for each; `takes` is what questions have beside their text. `into` is
        the one key of the result. `tools` are for questions that have none, unless there are `no_tools`, with a reason.
        `evidence` is what communities with a record are told of it, in the place of the pool's setting.

        Raises:
            InputError: a comment is given of a community that the pool does not have, or a stage is none.
            PoolError: `communities` names one that the pool does not have.
        """
        self.pool = pool if isinstance(pool, Pool) else Pool.load(pool)
        if communities is not None:
            self.pool = self.pool.only(communities)
        if evidence is not None:
            self.pool = self.pool.with_run(evidence=evidence)
        for name in comments or {}:
            if name not in self.pool.communities:
                raise InputError(f"A comment of {name} is given; the pool has only {', '.join(self.communities)}.")
        self.models = models if isinstance(models, PoolModels) else PoolModels(self.pool, models)
        self.prompts = (prompts or PromptSet.load()).with_built_in(EVIDENCE_PROMPTS)
        self.caller = Caller(attempts=self.pool.run.attempts, deadline=self.pool.run.deadline)
        self.mode, self.takes, self.comments = mode, takes, comments or {}
        check_seed((defaults or {}).get("seed"))
        if tools and no_tools is not None:
            raise InputError(no_tools)
        self._no_tools = no_tools
        known = {**(defaults or {}), "tools": plain_tools(tools)}
        self.defaults = {name: value for name, value in known.items() if value is not None}
        self.after_comments = [OwnPart.of(f"after_comments[{at}]", each) for at, each in enumerate(after_comments)]
        self._into = into
        self._results: list[str] = []

    @property
    def communities(self) -> list[str]:
        """Names of the communities, in the pool's order."""
        return list(self.pool.communities)

    @property
    def descriptions(self) -> dict[str, str]:
        """What each community is said to be, in the pool's order."""
        return {name: community.description for name, community in self.pool.communities.items()}

    def add(
        self,
        graph: StateGraph[Any, Any, Any, Any],
        name: str,
        step: Step,
        *,
        role: str | None = None,
        community: str | None = None,
        cached: bool = True,
    ) -> None:
        """Add a step to a graph. Callbacks are told the mode, the node's role (default: its name), and the community
        that it belongs to. LangGraph's metadata of the node say the same, and the names of the prompts that the step
        may use. One that waits for people is not to be `cached`: its key would wait for them, too."""
        self._check_names(graph, name, is_community=name == community)
        step, marks = step.with_defaults(self.defaults), self.marks(role or name, community)
        key = NodeKey(step, [self.mode, name, community or ""], graph, name)
        prompts = list(dict.fromkeys(prompt for question in self._questions() for prompt in step.prompts(question)))
        graph.add_node(
            name,
            StepNode(step, self.caller, name, marks),
            metadata={**marks, **({"prompts": prompts} if prompts else {})},
            cache_policy=CachePolicy(key_func=key) if cached else None,
        )

    def marks(self, role: str, community: str | None = None) -> dict[str, str]:
        """What a node says of itself to callbacks and in LangGraph's metadata."""
        marks = {"community": community, "mode": self.mode or None, "role": role}
        return {key: value for key, value in marks.items() if value is not None}

    def graph(
        self, state: type[StateT], question: type[InputT], result: type[OutputT]
    ) -> AskedGraph[StateT, None, InputT, OutputT]:
        """A graph without nodes, of which a run returns nothing but its result: all keys of it, or `into` alone.

        Raises:
            InputError: `into` cannot be a key of the result.
        """
        self._results = list(get_type_hints(result))
        if self._into is None:
            return AskedGraph(state, input_schema=question, output_schema=result)
        keys = get_type_hints(state, include_extras=True)
        taken = {*keys, *self.communities, "check", _GATHER}
        if not isinstance(self._into, str) or not self._into.isidentifier() or self._into in taken:
            raise InputError(
                f"The result cannot go into {self._into!r}; use a name of letters, digits and underscores that is no "
                "community, and no part of the question or the result."
            )
        whole: Any = typed(state.__name__, {**keys, self._into: result})
        alone: Any = typed(result.__name__, {self._into: result})
        return AskedGraph(whole, input_schema=question, output_schema=alone)

    def add_check(
        self, graph: StateGraph[Any, Any, Any, Any], *, any_mode: bool = False, unusable: str | None = None
    ) -> None:
        """Add the node with which every run begins; `unusable` is why no run of this graph could end."""
        results = written_keys(graph)
        asked: Any = {
            "mode": self.mode,
            "takes": self.takes,
            "communities": self.communities,
            "no_tools": self._no_tools,
            "unusable": unusable,
        }
        self.add(graph, "check", check(self.models, results=results, any_mode=any_mode, **asked))
        graph.add_edge(START, "check")

    def add_end(self, graph: StateGraph[Any, Any, Any, Any], *last: str) -> None:
        """End the graph after these nodes."""
        end = self.end(graph)
        for node in last:
            graph.add_edge(node, end)

    def end(self, graph: StateGraph[Any, Any, Any, Any]) -> str:
        """Where the last nodes of the graph lead, each graph once: to its end, or to what gathers the result."""
        if self._into is None:
            return END
        self.add(graph, _GATHER, gather(results=self._results, into=self._into))
        graph.add_edge(_GATHER, END)
        return _GATHER

    def _check_names(self, graph: StateGraph[Any, Any, Any, Any], node: str, *, is_community: bool) -> None:
        """Raise PoolError where a community is called as a part of the graph is, be it in another case."""
        taken = {key.lower() for key in (*graph.channels, *graph.nodes)} if is_community else {node.lower()}
        for name in [node] if is_community else self.communities:
            if name.lower() in taken:
                raise PoolError(
                    f"pool {self.pool.name}: [communities.{name}] has a name that graphs use themselves; rename it"
                )

    def _questions(self) -> Iterator[QuestionParts]:
        """The questions that there may be, by the parts that they have."""
        for options in _MAY_BE[self.takes.options]:
            for attribute in _MAY_BE[self.takes.attribute]:
                yield QuestionParts(options, attribute)

    def add_commenting(self, graph: StateGraph[Any, Any, Any, Any], name: str) -> None:
        """Add a community that does nothing but comment: one node, or a branch with the stages after it."""
        if not self.after_comments:
            self.add_comment(graph, name)
            return
        branch = self.branch(graph, CommentOutput)
        branch.add_edge(self.add_stages(branch, name), END)
        self.add_branch(graph, name, branch)

    def branch(self, graph: StateGraph[Any, Any, Any, Any], output: type[Any]) -> NestingGraph[Any, None, Any, Any]:
        """A community's own work, without nodes yet. A subgraph, since in one layer after another the slowest community
        would hold up the next stage of all."""
        return NestingGraph(graph.state_schema, input_schema=graph.input_schema, output_schema=output)

    def add_branch(
        self, graph: StateGraph[Any, Any, Any, Any], name: str, branch: StateGraph[Any, Any, Any, Any]
    ) -> None:
        """Add a community's branch to the graph."""
        graph.add_node(name, branch.compile(), metadata=self.marks("branch", name))

    def add_stages(self, branch: StateGraph[Any, Any, Any, Any], name: str) -> str:
        """Begin a branch with the community's comment and the stages after it; returns the last one's name. A comment
        that has failed ends the branch."""
        self.add_comment(branch, name)
        branch.add_edge(START, name)
        last = name
        for number, part in enumerate(self.after_comments, start=1):
            stage = f"after_{number}"
            self.add(branch, stage, after_comment(part, community=name), role="after_comment", community=name)
            branch.add_conditional_edges(last, unless_failed(name, stage), [stage, END])
            last = stage
        return last

    def add_comment(self, graph: StateGraph[Any, Any, Any, Any], name: str) -> None:
        """Add the node in which a community comments."""
        known = self.comments.get(name)
        step = comment(self.community(name), self.models, self.prompts) if known is None else given(name, known)
        self.add(graph, name, step, role="comment", community=name)

    def answer(
        self, prompt: str, scoring: Scoring, group_prompt: str | None = None, schema: ReplySchema | None = None
    ) -> Step:
        """The base LLM's answer with the prompt of that name; see `nodes.answer`.

        Raises:
            InputError: there is no such scoring.
        """
        return answer(
            self.models,
            self.prompts,
            prompt,
            max_tokens=self.pool.run.answer_tokens,
            scoring=check_scoring(scoring),
            samples=self.pool.run.score_samples,
            group_prompt=group_prompt,
            schema=schema,
        )

    def community(self, name: str) -> Speaker:
        """What the nodes of a community know of it."""
        persona = self.pool.persona_text(name, self.prompts)
        return Speaker(name, persona, self.pool.run.comment_tokens, self.pool.evidence_of(name))


def no_tools(own: object, stage: str, schema: object) -> str | None:
    """Why an answer can call no tools, where it is a stage's own or follows a schema."""
    if own is None and schema is None:
        return None
    other = "answer_schema" if own is None else f"your own {stage}"
    return f"tools are for the base LLM's answer in words of its own; leave them out, or {other}."


AnswerSchema = type | Mapping[str, Any] | None
"""What an answer is to follow: a class of pydantic, a TypedDict, or a JSON schema."""


def checked_schema(given: AnswerSchema, own: object, stage: str) -> ReplySchema | None:
    """The schema of the base LLM's answer.

    Raises:
        InputError: it cannot be used, or a part of the application's `own` answers in the base LLM's place.
    """
    if given is None:
        return None
    if own is not None:
        raise InputError(f"answer_schema is for the base LLM's answer; leave it out, or your own {stage}.")
    return ReplySchema.of(given)


def unless_failed(community: str, then: str) -> Callable[[State], str]:
    """The way to the node `then`, or to the end where the community has failed."""

    def leads(state: State) -> str:
        said = (state.get("comments") or {}).get(community)  # none of a community that only votes
        return END if said is not None and said["error"] is not None else then

    return leads
