"""Assembly: check → drafts, in parallel → attend → merge → verify → every community judges, in parallel → tally.

In its branch a community comments, and the base LLM drafts an answer in the light of its comment. Where the answer
breaks a contract and there are rounds left, tally leads to repair, and that back to verify.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from langgraph.graph import END, StateGraph

from modular_pluralism.checked import checked
from modular_pluralism.errors import InputError
from modular_pluralism.graphs.parts import Comments, Models, Parts, unless_failed
from modular_pluralism.graphs.state import AssemblyQuestion, AssemblyResult, AssemblyState, DraftOutput
from modular_pluralism.modes import ModeDescription, Takes, register_mode
from modular_pluralism.nodes.draft import ALONE, MERGED, draft_alone, draft_merged, draft_of_comment
from modular_pluralism.nodes.hear import hear
from modular_pluralism.nodes.judge import judge
from modular_pluralism.nodes.own import CommentStage
from modular_pluralism.nodes.quorum import attend
from modular_pluralism.nodes.repair import repair
from modular_pluralism.nodes.step import State
from modular_pluralism.nodes.tally import tally
from modular_pluralism.nodes.verify import verify
from modular_pluralism.option_math import MOST_OPTIONS
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.societal.choice import ChoiceName
from modular_pluralism.societal.contract import Contract
from modular_pluralism.societal.table import Normalise
from modular_pluralism.types import Draft, EvidenceTold

EVERY_DRAFT: tuple[Draft, ...] = get_args(Draft)
MOST_CHARACTERS = 4_800
"""Of all candidates together, as a judge is shown them: some 1,200 tokens of English, which leave room for a persona
and a question in the context of 2,048 tokens that an embedded model has where the pool says nothing."""


@checked
def build_assembly(
    pool: Pool | str | Path = "perspective",
    *,
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
    comments: Comments = None,
    communities: Sequence[str] | None = None,
    after_comments: Sequence[CommentStage] = (),
    evidence: EvidenceTold | None = None,
    drafts: Sequence[Draft] = EVERY_DRAFT,
    choose: ChoiceName | None = None,
    normalise: Normalise | None = None,
    contract: Contract | Mapping[str, Any] | str | Path | None = None,
    rounds: int | None = None,
    hearing: bool | None = None,
    most_characters: int = MOST_CHARACTERS,
    into: str | None = None,
) -> StateGraph[AssemblyState, None, AssemblyQuestion, AssemblyResult]:
    """The assembly: the base LLM drafts several answers, every community judges all of them, and a rule of social
    choice picks one (after section 4.2 of Stańczak et al., arXiv 2503.00069).

    Args:
        pool: A pool, the name of a built-in one, or the path of a TOML file.
        prompts: Prompts in the place of the built-in ones.
        models: Your own LangChain chat models in the place of the pool's [models.*], by name.
        seed: For questions that have none (default 0).
        comments: Comments that are known already, by community: those communities are not asked for one.
        communities: Those of the pool that are asked (default: all).
        after_comments: Stages of your own for every comment, one after the other, each in its community's branch; see
            `CommentStage`.
        evidence: Which of its people's answers a community with a record is told before it comments: "all" that are
            near enough, those to "others" than the asked question, or "none" (default: as the pool's [run] table says).
        drafts: What is chosen among: the answer of the "base" LLM alone, the "merge" of all comments, and one answer in
            the light of each of the "comments".
        choose: The rule, for questions that name none (default "nash"); see `ChoiceName`.
        normalise: What is made of the members' scores before, for questions that do not say (default "none"); see
            `Normalise`.
        contract: The rules for the answer, also in plain values or as the path of their TOML file, for questions that
            have none.
        rounds: How often an answer that breaks a must of them is mended, for questions that do not say (default 2).
        hearing: Let the run wait for people before it ends, where a question does not say: an interrupt of LangGraph's,
            which needs a checkpointer. It is resumed with the `version` that it tells, and a list of `submissions`.
        most_characters: How much a judge is shown of all candidates together; the longest ones are cut for it, and the
            ballots say so.
        into: A key that takes the whole result, so that graphs stand side by side in one parent.

    Returns:
        The graph, not compiled. A run returns an `AssemblyResult`.

    Raises:
        PoolError, PromptError: The pool or a prompt is unusable.
        ContractError: The contract cannot be read, or is none.
        ModelLoadError: `models` has a name that the pool has not. (The pool's models are opened by the first run.)
        InputError: There is no such draft, rule or normalising, a comment is given of a community that is not in the
            pool, a stage is nothing that could be asked, or `into` is no key that is free.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel

        from modular_pluralism import build_assembly

        mine = FakeListChatModel(responses=["A"])  # any LangChain chat model; this one says and prefers "A"
        graph = build_assembly("culture", models={"smollm2": mine}).compile()
        state = graph.invoke({"question": "Should a city ban cars from its centre?"})
        print(state["answer"], state["tally"]["winner"], state["uncertainty"])
        ```
    """
    chosen = _checked_drafts(drafts)
    parts = Parts(
        pool,
        prompts,
        models,
        "assembly",
        {
            "seed": seed,
            "choose": choose,
            "normalise": normalise,
            "contract": _rules(contract),
            "rounds": rounds,
            "hearing": hearing,
        },
        comments,
        ASSEMBLY.takes,
        communities=communities,
        after_comments=after_comments,
        evidence=evidence,
        into=into,
    )
    names = [
        *([ALONE] if "base" in chosen else []),
        *([MERGED] if "merge" in chosen else []),
        *(parts.communities if "comments" in chosen else []),
    ]
    graph = parts.graph(AssemblyState, AssemblyQuestion, AssemblyResult)
    parts.add_check(graph, unusable=_too_many(len(names)))
    who: Any = {"drafts": names, "communities": parts.communities, "priors": parts.pool.priors_of}
    parts.add(graph, "verify", verify(**who))
    graph.add_edge(_add_drafts(parts, graph, chosen), "verify")
    for name in parts.communities:
        node = f"judge_{name}"
        judging = judge(
            parts.community(name),
            parts.models,
            parts.prompts,
            drafts=names,
            samples=parts.pool.run.score_samples,
            most_characters=most_characters,
            by_itself=parts.models.takes_messages(name),
        )
        parts.add(graph, node, judging, role="judge", community=name)
        graph.add_edge("verify", node)
        graph.add_edge(node, "tally")  # after all of them, which run in one superstep
    parts.add(graph, "tally", tally(**who, quorum=parts.pool.quorum))
    most = parts.pool.run.answer_tokens
    parts.add(graph, "repair", repair(parts.models, parts.prompts, drafts=names, max_tokens=most))
    end = parts.end(graph)
    parts.add(graph, "hear", hear(drafts=names, communities=parts.communities), cached=False)
    graph.add_conditional_edges("tally", lambda state: _after_tally(state, end), ["repair", "hear", end])
    graph.add_edge("repair", "verify")
    graph.add_edge("hear", "tally")
    return graph


def _after_tally(state: State, end: str) -> str:
    """Where an assembly goes on: a must is broken and can be mended, people are to be heard, or it has ended."""
    return "repair" if state.get("rounds_left") else "hear" if state.get("waits") else end


def _rules(contract: Contract | Mapping[str, Any] | str | Path | None) -> dict[str, Any] | None:
    """A contract in plain values, checked, and read where it is the path of one."""
    if contract is None:
        return None
    if isinstance(contract, Mapping):
        contract = Contract.from_data(contract)
    return (contract if isinstance(contract, Contract) else Contract.load(contract)).data


def _add_drafts(parts: Parts, graph: StateGraph[Any, Any, Any, Any], drafts: Sequence[Draft]) -> str:
    """Add the nodes that write the candidates, from the check on; returns the last one's name."""
    most = parts.pool.run.answer_tokens
    who: Any = {"communities": parts.communities, "quorum": parts.pool.quorum}
    for name in parts.communities:
        if "comments" in drafts:
            parts.add_branch(graph, name, _branch(parts, graph, name, most))
        else:
            parts.add_commenting(graph, name)
    if "base" in drafts:
        parts.add(graph, ALONE, draft_alone(parts.models, parts.prompts, max_tokens=most), role="draft")
    parts.add(graph, "attend", attend(**who))
    for node in [*parts.communities, *([ALONE] if "base" in drafts else [])]:
        graph.add_edge("check", node)
        graph.add_edge(node, "attend")  # after all of them, which run in one superstep
    if "merge" not in drafts:
        return "attend"
    parts.add(graph, MERGED, draft_merged(parts.models, parts.prompts, max_tokens=most, **who), role="merge")
    graph.add_edge("attend", MERGED)
    return MERGED


def _branch(
    parts: Parts, graph: StateGraph[Any, Any, Any, Any], name: str, max_tokens: int
) -> StateGraph[Any, Any, Any, Any]:
    """One community's own work: its comment, and the draft in the light of that."""
    branch = parts.branch(graph, DraftOutput)
    last = parts.add_stages(branch, name)
    step = draft_of_comment(name, parts.models, parts.prompts, max_tokens=max_tokens)
    parts.add(branch, "draft", step, community=name)
    branch.add_conditional_edges(last, unless_failed(name, "draft"), ["draft", END])
    branch.add_edge("draft", END)
    return branch


def _checked_drafts(given: Sequence[Draft]) -> list[Draft]:
    """The drafts, in their own order.

    Raises:
        InputError: there is none.
    """
    if not given:
        raise InputError(f"There is no draft to choose; name some of {', '.join(EVERY_DRAFT)}.")
    return [name for name in EVERY_DRAFT if name in given]


def _too_many(candidates: int) -> str | None:
    """Why no question can be answered, where judges could not tell so many candidates apart by letters."""
    if candidates <= MOST_OPTIONS:
        return None
    return (
        f"There are {candidates} candidates, and only {MOST_OPTIONS} letters to judge them by; name fewer communities, "
        'or build the assembly with drafts=["base", "merge"].'
    )


ASSEMBLY = register_mode(
    ModeDescription(
        name="assembly",
        work="the base LLM drafts an answer alone, one of all comments, and one in the light of each → every community "
        "judges them all in parallel → a rule of social choice picks one",
        outcome="an answer with its minutes: who prefers which draft, and how sure that is",
        tool="Answer a question on which people disagree with the draft that communities choose, and tell who would "
        "have preferred another.",
        build=build_assembly,
        state=AssemblyState,
        takes=Takes(attribute="optional", choose=True),
    )
)
