"""What Inspect's generation settings mean for a run: which hold, which a pool has no way to follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from inspect_ai.model import GenerateConfig

from modular_pluralism.errors import InputError
from modular_pluralism.llama.text_stream import TextStream
from modular_pluralism.nodes.request import check_seed
from modular_pluralism.pool import EmbeddedModel, Pool

_LIMITS = {"max_tokens": (1, math.inf), "temperature": (0, math.inf), "top_p": (0, 1), "top_k": (0, math.inf)}
"""The least and the most of each setting."""
_SINGLE = ("num_choices", "best_of")
_REFUSED = ("frequency_penalty", "presence_penalty", "logit_bias", "response_schema", "extra_body", "modalities")
"""What changes the answer itself: a result without it would be another one than was asked for."""
_UNHEARD = (
    "top_logprobs",
    "prompt_logprobs",
    "reasoning_effort",
    "reasoning_mode",
    "reasoning_tokens",
    "reasoning_summary",
    "verbosity",
    "effort",
    "extra_headers",
    "fallback_models",
    "batch",
)


@dataclass(frozen=True)
class Settings:
    """What holds for one run. `sampling` is for every text of it, `answer_tokens` and `stop` for the answer."""

    answer_tokens: int | None
    sampling: tuple[tuple[str, float], ...]
    stop: tuple[str, ...]
    unheard: tuple[str, ...]

    def cut(self, text: str) -> tuple[str, bool]:
        """The answer up to its first stop sequence, and whether it has one."""
        stream = TextStream(self.stop)
        cut = stream.feed(text.encode("utf-8", "replace"))
        return (cut.rstrip(), True) if stream.stopped else (text, False)


def settings_of(config: GenerateConfig, pool: Pool) -> Settings:
    """The settings for a run on the pool.

    Raises:
        InputError: a setting is out of its range, or would change the answer and cannot be followed.
    """
    given: dict[str, Any] = config.model_dump(exclude_none=True)
    check_seed(config.seed)
    _check_limits(given)
    for name in _SINGLE:
        if given.get(name, 1) != 1:
            raise InputError(f"{name} is {given[name]}, and a run gives one answer; leave it out, or use epochs.")
    for name in _REFUSED:
        if given.get(name):
            raise InputError(f"{name} cannot be followed by the models of a pool; leave it out.")
    remote = [name for name, model in pool.models.items() if not isinstance(model, EmbeddedModel)]
    if "top_k" in given and remote:
        raise InputError(f"top_k cannot be sent to [models.{remote[0]}], which is remote; leave it out.")
    if not all(config.stop_seqs or []):
        raise InputError("A stop sequence is empty; leave it out.")
    if "top_p" in given:  # 0 leaves only the likeliest token; the engine wants a little more than that
        given["top_p"] = max(given["top_p"], 1e-9)
    return Settings(
        config.max_tokens,
        tuple((name, given[name]) for name in ("temperature", "top_p", "top_k") if name in given),
        tuple(config.stop_seqs or ()),
        tuple(name for name in _UNHEARD if given.get(name)),
    )


def _check_limits(given: dict[str, Any]) -> None:
    for name, (least, most) in _LIMITS.items():
        value = given.get(name, least)
        if not least <= value <= most or value == math.inf:
            above = f"from {least} to {most}" if most < math.inf else f"of {least} or more"
            raise InputError(f"{name} is {value}; give a number {above}.")
