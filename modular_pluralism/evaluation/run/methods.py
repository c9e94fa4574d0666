"""The methods that are compared: the three baselines of the paper, and its own with a pool or a part of it.

A method takes an item, runs its graph, and gives what came out, measured where that takes a model, as an outcome.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, get_args

from langgraph.cache.base import BaseCache

from modular_pluralism.errors import ConfigurationError, InputError, NoUsableReplyError, PluralismError
from modular_pluralism.evaluation.data.items import STANCES, Item, Kind, OptionItem, OvertonItem, ValueItem
from modular_pluralism.evaluation.data.outcome import Outcome, Prediction, empty_outcome
from modular_pluralism.evaluation.measures.distances import most_likely_agrees
from modular_pluralism.evaluation.measures.judge import CRITERIA
from modular_pluralism.evaluation.run.makers import Maker, OvertonMeasures, Result
from modular_pluralism.graphs.baselines import BASELINES, baseline_settings
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.modes import find_mode, written_texts
from modular_pluralism.nodes.aggregate import pooled_as
from modular_pluralism.nodes.request import Printed
from modular_pluralism.nodes.step import derive_seed
from modular_pluralism.option_math import letters, most_likely
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.records.populations import population
from modular_pluralism.types import Comment, ItemScoring, MethodName, Mode, OptionDistribution, Voices

if TYPE_CHECKING:
    from inspect_ai.scorer import Scorer

METHODS: tuple[MethodName, ...] = get_args(MethodName)

MODES: Mapping[Kind, Mode] = {
    "distributional": "distributional",
    "steerable-opinion": "steerable",
    "steerable-value": "steerable",
    "overton": "overton",
}
"""The mode that answers items of a kind."""


@dataclass(frozen=True)
class Setting:
    """What all methods of an evaluation have in common.

    `voice` is how communities are heard in distributional mode. With a `cache`, nodes that depend on the same things as
    nodes of an earlier graph are not run again. `overton` measures Overton answers, which are else left as they are.
    """

    kind: Kind
    pool: Pool
    models: PoolModels
    prompts: PromptSet
    scoring: ItemScoring
    seed: int
    cache: BaseCache[Any] | None = None
    voice: Voices = "comment"
    overton: OvertonMeasures | None = None


class Method(Maker):
    """One method, ready to answer items; its results are outcomes."""

    def __init__(self, name: str, graph: Any, setting: Setting) -> None:
        self.name = name
        self._graph = graph.compile(cache=setting.cache)
        self._setting = setting

    async def answer(self, item: Item) -> Outcome:
        """What becomes of the item; a method that fails on it leaves an outcome with the error.

        Raises:
            PluralismError: the models or the settings are unusable for every item.
        """
        outcome = empty_outcome(item.id, self.name)
        started = time.perf_counter()
        if isinstance(item, OptionItem) and len(item.options) == 1:  # nothing can be asked, and nothing be wrong
            outcome["prediction"] = Prediction(
                rotate=[1.0], label=[1.0], rotate_mass=None, label_mass=None, samples=None
            )
            return outcome
        state: dict[str, Any] = {}
        try:
            # The last state is the result; that before a failure tells who had failed.
            async for state in self._graph.astream(question(item, self._setting), stream_mode="values"):  # noqa: B007
                pass
            fill_outcome(outcome, state)
        except ConfigurationError:
            raise
        except PluralismError as error:
            outcome["error"] = str(error)
            outcome["comments"] = _comments(state)
            outcome["missing"] = [name for name, said in outcome["comments"].items() if said["error"] is not None]
            outcome["parse_failures"] = error.replies if isinstance(error, NoUsableReplyError) else 0
        outcome["seconds"] = round(time.perf_counter() - started, 3)
        return outcome

    async def make(self, place: int, item: Item) -> Result:
        """See Maker. An answer that could not be measured is a failure, and kept as one."""
        outcome = await self.answer(item)
        if isinstance(item, OvertonItem) and self._setting.overton is not None and outcome["error"] is None:
            try:
                await self._setting.overton.measure(item, outcome)
            except ConfigurationError:
                raise
            except PluralismError as error:
                outcome["error"] = f"The answer could not be measured. {error}"
        return cast(Result, outcome)

    def scorers(self, item: Item) -> list[Scorer]:
        """See Maker."""
        # Here, since trials, fits and patches need nothing of Inspect, which takes long to import.
        from modular_pluralism.evaluation.inspect.scorers import js_distance, value_coverage

        match item:
            case OptionItem():
                return [js_distance()]
            case OvertonItem():
                return [value_coverage()]
        return []

    def scores(self, item: Item, result: Result) -> Mapping[str, float]:
        """See Maker."""
        prediction: Prediction | None = result["prediction"]
        match item:
            case OptionItem() if prediction is not None:
                return {"most_likely": float(most_likely_agrees(item.gold, prediction["rotate"]))}
            case ValueItem() if prediction is not None:
                return {"accuracy": float("ABC"[most_likely(prediction["rotate"])] == item.label)}
            case _:
                names = ("comment_coverage", "perspective_score", *(f"rating_{name}" for name in CRITERIA))
                return {name: result["measures"].get(name, math.nan) for name in names}

    def shown(self, item: Item, result: Result) -> str:
        """See Maker."""
        prediction: Prediction | None = result["prediction"]
        if prediction is None:
            return str(result["answer"])
        options = item.options
        return "\n".join(
            f"{share:.3f}  {letter}. {option}"
            for letter, option, share in zip(letters(len(options)), options, prediction["rotate"], strict=True)
        )

    def metadata(self, result: Result) -> dict[str, Any]:
        """See Maker: the distribution, or the coverage of each value."""
        prediction: Prediction | None = result["prediction"]
        lists: dict[str, list[float]] = result["lists"]
        return {"coverage": lists.get("coverage")} if prediction is None else {"distribution": prediction["rotate"]}


def build_methods(
    names: Sequence[MethodName], setting: Setting, *, without: Sequence[str] = (), only: Sequence[str] = ()
) -> list[Method]:
    """The methods, in the order given; for each name in `without` and `only`, `modular` with the pool patched so.

    Raises:
        InputError: a community is not in the pool, or none would be left.
    """
    methods = [Method(name, _graph(name, setting), setting) for name in dict.fromkeys(names)]
    for name, kept in _patches(list(setting.pool.communities), without, only).items():
        pool = setting.pool.unchecked(  # its weights may be all in the tables of its attributes
            communities={community: setting.pool.communities[community] for community in kept},
            priors_by_attribute=setting.pool.priors_tables(kept),
            run=setting.pool.run.model_copy(update={"quorum": _quorum(setting.pool, len(kept))}),
        )
        methods.append(Method(name, _modular(setting, pool), setting))
    return methods


def _quorum(pool: Pool, kept: int) -> int | None:
    """The pool's own quorum where as many are left, and a majority where the pool says nothing."""
    return None if pool.run.quorum is None else min(pool.run.quorum, kept)


def _patches(communities: list[str], without: Sequence[str], only: Sequence[str]) -> dict[str, list[str]]:
    for name in (*without, *only):
        if name not in communities:
            raise InputError(f"The pool has no community {name!r}; it has {', '.join(communities)}.")
    if without and len(communities) == 1:
        raise InputError(f"Without {without[0]!r} no community would be left; give a pool with more of them.")
    return {
        **{f"modular without {name}": [each for each in communities if each != name] for name in without},
        **{f"modular only {name}": [name] for name in only},
    }


def _graph(name: MethodName, setting: Setting) -> Any:
    if name == "modular":
        return _modular(setting, setting.pool)
    more: dict[str, Any] = {"prompts": setting.prompts, "models": setting.models, "scoring": setting.scoring}
    return BASELINES[name](setting.pool, **more, **baseline_settings(name, MODES[setting.kind]))


def _modular(setting: Setting, pool: Pool) -> Any:
    mode = find_mode(MODES[setting.kind])
    more: dict[str, Any] = {"prompts": setting.prompts, "models": setting.models}
    return mode.graph(pool, scoring=setting.scoring, voice=setting.voice, **more)


def question(item: Item, setting: Setting) -> dict[str, Any]:
    """What a graph is asked about an item.

    A community's comment depends on the item and its seed alone, so that it is the same for every method. Of a
    demographic file, the attribute is the group; of MoralChoice it would give the answer away, and is not told.
    """
    asked: dict[str, Any] = {"question": item.question, "seed": derive_seed(setting.seed, "item", item.id)}
    match item:
        case OptionItem():
            asked |= {"options": Printed(item.options), "attribute": population(item.attribute)}
        case ValueItem():
            asked |= {"options": list(STANCES), "attribute": item.value}
    return asked


def fill_outcome(outcome: Outcome, state: Mapping[str, Any]) -> None:
    """Put what a graph's last state says into the outcome."""
    outcome["comments"] = _comments(state)
    outcome["missing"] = list(state.get("missing") or [])
    selected = state.get("selected")
    if selected is not None:
        outcome["selected"] = selected["community"]
        outcome["selected_probability"] = selected["probability"]
        outcome["parse_failures"] += selected["attempts"] - 1
    if state.get("distributions"):
        outcome["prediction"] = _pooled(state)
        outcome["parse_failures"] += _unparsed(list(state["distributions"].values()))
    elif state.get("distribution"):
        outcome["prediction"] = _single(state["distribution"])
        outcome["parse_failures"] += _unparsed([state["distribution"]])
    else:
        outcome["answer"] = state["answer"]
    texts = written_texts(state)
    outcome["tokens"] = {
        "prompt": sum(text["prompt_tokens"] for text in texts),
        "cached": sum(text["cached_tokens"] for text in texts),
        "generated": sum(text["completion_tokens"] for text in texts),
    }


def _comments(state: Mapping[str, Any]) -> dict[str, Comment]:
    """Sorted, since branches end in any order."""
    return dict(sorted((state.get("comments") or {}).items()))


def _single(read: OptionDistribution) -> Prediction:
    return Prediction(
        rotate=read["probabilities"],
        label=read["label"],
        rotate_mass=read["mass"],
        label_mass=read["label_mass"],
        samples=read["samples"],
    )


def _pooled(state: Mapping[str, Any]) -> Prediction:
    """The communities' distributions pooled with their weights, as the graph has done it for the one that it gives."""
    weights: dict[str, float] = state["weights"]
    of_each: list[OptionDistribution] = [state["distributions"][name] for name in weights]
    shares = list(weights.values())
    labels = [each["label"] for each in of_each]
    return Prediction(
        rotate=state["distribution"],
        label=pooled_as(state, [each for each in labels if each is not None], shares) if None not in labels else None,
        rotate_mass=state["label_mass"],
        label_mass=_mean([each["label_mass"] for each in of_each], shares),
        samples=sum(each["samples"] or 0 for each in of_each) or None,
    )


def _unparsed(reads: Sequence[OptionDistribution]) -> int:
    """Sampled replies that named no option: what a sampled mass lacks to 1."""
    return sum(round(read["samples"] * (1 - (read["mass"] or 0))) for read in reads if read["samples"] is not None)


def _mean(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    known = [value for value in values if value is not None]
    return (
        sum(weight * value for weight, value in zip(weights, known, strict=True)) if len(known) == len(values) else None
    )
