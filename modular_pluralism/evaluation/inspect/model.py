"""A pool as a model of Inspect: `inspect eval TASK --model pluralism/overton -M pool=culture`.

Any task of Inspect then runs on the graph as if it were one model. What the graph found, the comments, the selected
community, the distribution, stands in the output's metadata.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
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
from modular_pluralism.evaluation.run.methods import fill_outcome
from modular_pluralism.graphs.baselines import BASELINES, baseline_settings
from modular_pluralism.graphs.parts import ANYTHING
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.modes import Takes, find_mode, modes
from modular_pluralism.nodes.request import check_scoring
from modular_pluralism.nodes.step import derive_seed
from modular_pluralism.option_math import MOST_OPTIONS, letters, most_likely
from modular_pluralism.pool import Pool
from modular_pluralism.types import Mode, Scoring

_OPTION = re.compile(r"^([A-Z])\) (.+)$", re.MULTILINE)
"""How Inspect's multiple choice solver writes options."""


class PluralismModel(ModelAPI):
    """The modes, such as overton, and the baselines vanilla, prompting and moe, over one pool.

    Model arguments: `pool` (a built-in name or a file), `attribute` (needed by steerable), `scoring`, `seed`. Where the
    question has options written as Inspect's multiple choice solver does, all but Overton answer with one of them;
    distributional mode needs them. Prompting asks the base LLM in the way of steerable where there is an attribute, of
    distributional where there are options, and of Overton otherwise. `seed`, or Inspect's own where it has one, is that
    of each input's first call in the first epoch; later epochs and calls have seeds derived from it.

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
        except PluralismError as error:
            raise PrerequisiteError(str(error)) from None  # which Inspect prints without a traceback
        self._attribute = attribute
        self._seed = int(seed)
        self._seeds = CallSeeds()
        self._graph = cache(self._built)

    def _built(self, answer_tokens: int | None, prompting: Mode) -> Any:
        changes = {} if answer_tokens is None else {"answer_tokens": answer_tokens}
        pool = self._pool.model_copy(update={"run": self._pool.run.model_copy(update=changes)})
        if self.model_name in BASELINES:
            more = baseline_settings(self.model_name, prompting)
            return BASELINES[self.model_name](pool, models=self._models, scoring=self._scoring, **more).compile()
        return find_mode(self.model_name).graph(pool, models=self._models, scoring=self._scoring).compile()

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """One run of the graph.

        Raises:
            PluralismError: the run failed, or the task wants tools, or options are missing.
        """
        if tools:
            raise InputError("A community pool cannot call tools; run a task without them.")
        text = _conversation(input)
        question, options = take_options(text)
        seed = self._seeds.next(self._seed if config.seed is None else config.seed, text)
        asked: dict[str, Any] = {"question": text, "seed": seed}
        if self._attribute is not None:
            asked["attribute"] = self._attribute
        if self._takes.options == "required" and not options:
            raise InputError(
                f"pluralism/{self.model_name} needs a multiple choice question, with lines such as 'A) Yes'."
            )
        if options and self._takes.options != "refused":
            asked |= {"question": question, "options": options}
        started = time.monotonic()
        state = await self._graph(config.max_tokens, _prompting(asked)).ainvoke(asked)
        return _output(f"pluralism/{self.model_name}", {**state, "seed": seed}, time.monotonic() - started)

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


def take_options(text: str) -> tuple[str, list[str]]:
    """The text without the lines "A) …", "B) …" that list its options, and the options; none unless they run from A."""
    matches = list(_OPTION.finditer(text))
    if not 2 <= len(matches) <= MOST_OPTIONS or "".join(match[1] for match in matches) != letters(len(matches)):
        return text, []
    return _OPTION.sub("", text).strip(), [match[2].strip() for match in matches]


def _conversation(messages: Sequence[ChatMessage]) -> str:
    if len(messages) == 1:
        return messages[0].text
    return "\n\n".join(f"{message.role}: {message.text}" for message in messages)


def _output(model: str, state: Mapping[str, Any], seconds: float) -> ModelOutput:
    outcome = empty_outcome(model, model)
    fill_outcome(outcome, state)
    prediction, tokens = outcome["prediction"], outcome["tokens"]
    finished = (state.get("usage") or {}).get("finish_reason")
    stop: StopReason = "max_tokens" if prediction is None and finished == "length" else "stop"
    if prediction is None:
        text = state["answer"]
    else:
        text = f"ANSWER: {letters(len(prediction['rotate']))[most_likely(prediction['rotate'])]}"
    pooled = ("distribution", "distributions", "label_mass", "disagreement", "weights")
    kept = ("seed", "comments", "missing", "selected", *pooled)
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
