"""A pool as a model of Inspect: `inspect eval TASK --model pluralism/overton -M pool=culture`.

Any task of Inspect then runs on the graph as if it were one model. What the graph found, the comments, the selected
community, the distribution, stands in the output's metadata.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
)
from inspect_ai.solver._task_state import sample_state
from inspect_ai.tool import ToolChoice, ToolInfo

from modular_pluralism.errors import InputError, PluralismError
from modular_pluralism.evaluation.data.outcome import empty_outcome
from modular_pluralism.evaluation.inspect.choices import asked_in, conversation
from modular_pluralism.evaluation.inspect.settings import Settings, settings_of
from modular_pluralism.evaluation.run.methods import fill_outcome
from modular_pluralism.graphs.baselines import BASELINES, baseline_settings
from modular_pluralism.graphs.parts import ANYTHING
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.modes import Takes, find_mode, modes
from modular_pluralism.nodes.request import Printed, check_scoring, check_seed
from modular_pluralism.nodes.step import derive_seed
from modular_pluralism.option_math import letters, most_likely
from modular_pluralism.pool import Pool
from modular_pluralism.types import Mode, Scoring

_log = logging.getLogger(__name__)


class PluralismModel(ModelAPI):
    """The modes, such as overton, and the baselines vanilla, prompting and moe, over one pool.

    Model arguments: `pool` (a built-in name or a file), `attribute` (needed by steerable), `scoring`, `seed`. Where the
    question has options written as Inspect's multiple choice solver does, all but Overton answer with one of them;
    distributional mode needs them. Prompting asks the base LLM in the way of steerable where there is an attribute, of
    distributional where there are options, and of Overton otherwise. `seed`, or Inspect's own where it has one, is that
    of each input's first call in the first epoch; later epochs and calls have seeds derived from it.

    Of Inspect's settings, `temperature`, `top_p` and `top_k` hold for every text of a run, `max_tokens` and `stop_seqs`
    for a written answer. What would change the answer and cannot be followed is refused; the rest is told once.

    Raises:
        PrerequisiteError: there is no such mode, or the pool or an argument is unusable.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - as Inspect's own providers have it
        *,
        pool: str = "perspective",
        attribute: str | None = None,
        scoring: Scoring = "rotate",
        seed: int = 0,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        try:
            self._takes = _takes(model_name, attribute)
            self._scoring = check_scoring(scoring)
            self._pool = Pool.load(str(pool))
            self._models = PoolModels(self._pool)
            self._models.check()
            check_seed(seed)
            settings_of(config, self._pool)
        except PluralismError as error:
            raise PrerequisiteError(str(error)) from None  # which Inspect prints without a traceback
        self._attribute = attribute
        self._seed = seed
        self._seeds = CallSeeds()
        self._told: set[str] = set()
        self._graph = lru_cache(maxsize=32)(self._built)

    def _built(self, answer_tokens: int | None, sampling: tuple[tuple[str, float], ...], prompting: Mode) -> Any:
        changes = {} if answer_tokens is None else {"answer_tokens": answer_tokens}
        pool = self._pool.model_copy(update={"run": self._pool.run.model_copy(update=changes)})
        models = self._models.sampled(pool, dict(sampling)) if sampling else self._models
        if self.model_name in BASELINES:
            more = baseline_settings(self.model_name, prompting)
            return BASELINES[self.model_name](pool, models=models, scoring=self._scoring, **more).compile()
        return find_mode(self.model_name).graph(pool, models=models, scoring=self._scoring).compile()

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """One run of the graph.

        Raises:
            PluralismError: the run failed, or the task wants tools or a setting that a pool has not, or options are
                missing.
        """
        if tools:
            raise InputError("A community pool cannot call tools; run a task without them.")
        settings = settings_of(config, self._pool)
        self._tell(settings)
        text = conversation([(message.role, message.text) for message in input])
        seed = self._seeds.next(self._seed if config.seed is None else config.seed, text)
        asked: dict[str, Any] = {"question": text, "seed": seed}
        if self._attribute is not None:
            asked["attribute"] = self._attribute
        if self._takes.options != "refused":
            question, options = asked_in(input, _choices())
            if options:
                asked |= {"question": question, "options": Printed(options)}
            elif self._takes.options == "required":
                raise InputError(
                    f"pluralism/{self.model_name} needs a multiple choice question, with lines such as 'A) Yes'."
                )
        started = time.monotonic()
        graph = self._graph(settings.answer_tokens, settings.sampling, _prompting(asked))
        state = {**await graph.ainvoke(asked), "seed": seed}
        return _output(f"pluralism/{self.model_name}", state, settings, time.monotonic() - started)

    def _tell(self, settings: Settings) -> None:
        """Say once which settings nothing is done with."""
        unheard = [name for name in settings.unheard if name not in self._told]
        self._told.update(unheard)
        if unheard:
            _log.warning(
                "pluralism/%s does nothing with %s; what its models are told stands in the pool file.",
                self.model_name,
                ", ".join(unheard),
            )

    def max_connections(self) -> int:
        """Questions at once; the engine runs their comments together."""
        return 16

    def connection_key(self) -> str:
        """One pool of connections a model."""
        return f"pluralism/{self.model_name}/{self._pool.name}"


class CallSeeds:
    """Seeds derived from one seed: the same for the same input, epoch and number of the call.

    Calls are counted for each sample apart, so that their seeds do not depend on the order in which samples come to
    run. The first call of an input in the first epoch, and so every call of a task that makes one of each, has the seed
    that was given.
    """

    def __init__(self) -> None:
        self._calls: Counter[bytes] = Counter()

    def next(self, seed: int, text: str) -> int:
        """The seed for the next call with this input in the running sample."""
        state = sample_state()  # Inspect tells a model nothing else of where it is called from
        sample, epoch = ("", 1) if state is None else (state.uuid, state.epoch)
        key = hashlib.blake2b(f"{sample}\0{epoch}\0{seed}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16)
        call = self._calls[key.digest()]
        self._calls[key.digest()] += 1
        return seed if (epoch, call) == (1, 0) else derive_seed(seed, "epoch", epoch, "call", call)


def _prompting(asked: Mapping[str, Any]) -> Mode:
    """The mode in whose way the base LLM is told to be pluralistic."""
    if "attribute" in asked:
        return "steerable"
    return "distributional" if "options" in asked else "overton"


def _takes(model: str, attribute: str | None) -> Takes:
    """What questions to this model may have."""
    if model in BASELINES:
        return ANYTHING
    if model not in modes():
        raise InputError(f"There is no pluralism/{model}; use one of {', '.join([*modes(), *BASELINES])}.")
    takes = find_mode(model).takes
    if takes.attribute == "required" and not attribute:
        raise InputError(f"pluralism/{model} needs an attribute; add -M attribute='the right to privacy'.")
    return takes


def _choices() -> list[str]:
    """Those of the running sample, in the order in which they are asked."""
    state = sample_state()
    return [] if state is None else [choice.value for choice in state.choices]


def _output(model: str, state: Mapping[str, Any], settings: Settings, seconds: float) -> ModelOutput:
    outcome = empty_outcome(model, model)
    fill_outcome(outcome, state)
    prediction, tokens = outcome["prediction"], outcome["tokens"]
    finished = (state.get("usage") or {}).get("finish_reason")
    stop: StopReason = "stop"
    if prediction is None:
        text, stopped = settings.cut(state["answer"])
        stop = "max_tokens" if finished == "length" and not stopped else "stop"
    else:
        text = f"ANSWER: {letters(len(prediction['rotate']))[most_likely(prediction['rotate'])]}"
    pooled = ("distribution", "distributions", "label_mass", "disagreement", "weights")
    minutes = ("candidate", "candidates", "ballots", "tally", "uncertainty", "standing", "status", "repairs")
    kept = ("seed", "comments", "missing", "selected", *pooled, *minutes)
    # How many replies the distribution was estimated from, where it was not read from the model.
    samples = {"samples": prediction["samples"]} if prediction is not None and prediction["samples"] else {}
    return ModelOutput(
        model=model,
        choices=[ChatCompletionChoice(message=ChatMessageAssistant(content=text, model=model), stop_reason=stop)],
        usage=ModelUsage(
            input_tokens=tokens["prompt"] - tokens["cached"],
            output_tokens=tokens["generated"],
            total_tokens=tokens["prompt"] + tokens["generated"],
            input_tokens_cache_read=tokens["cached"],
        ),
        time=seconds,
        metadata={key: state[key] for key in kept if state.get(key) is not None} | samples,
    )
