"""A step of training an activated adapter on survey answers, against a step of a plain one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.pairing import take_turns
from benchmarks.result import Result, compare
from benchmarks.row import Row, Settings
from modular_pluralism.optional import optional
from modular_pluralism.records.survey import SurveyItem
from modular_pluralism.training import TrainingSettings
from modular_pluralism.training.base_model import PURPOSE, add_lora, fast_numbers, load_base, shrink_base
from modular_pluralism.training.survey_objective import SurveyObjective
from modular_pluralism.training.vote_prompts import VoteEncoder

_ITEMS, _HELD_OUT, _CONTEXT = 40, 4, 2048
_OPTIONS = ("A great deal", "Something", "Very little", "Nothing at all")
_ACTIVATED, _PLAIN = "activated", "plain"


def measure(settings: Settings) -> Iterator[Result]:
    """Seconds a step: the loss of four items and its gradients, which is nearly all of it."""
    optional("torch", "train", PURPOSE).set_num_threads(settings.threads)
    training = TrainingSettings()
    model = add_lora(load_base(settings.file.path), rank=training.rank, scale=training.scale, seed=training.seed)
    shrink_base(model)
    with closing(VoteEncoder(settings.file.path)) as encoder:
        items = [_item(number) for number in range(_ITEMS)]
        sides = {}
        for name in (_ACTIVATED, _PLAIN):
            chosen = training.model_copy(update={"activated": name == _ACTIVATED})
            objective = SurveyObjective(encoder, items[_HELD_OUT:], items[:_HELD_OUT], chosen, _CONTEXT)
            sides[name] = partial(_seconds, model, objective)
        measured = take_turns(sides, settings.rounds, settings.say)
    yield compare(
        ROW.name,
        f"a step of an activated adapter, {settings.file}",
        "a step of a plain one",
        measured[_ACTIVATED],
        measured[_PLAIN],
        "s",
        "peer / ours",
        reach=1.5,
    )


def _item(number: int) -> SurveyItem:
    question = f"{number}. How much should the state do to lower the differences between the incomes of people?"
    return SurveyItem(question, _OPTIONS, "Canada", (0.4, 0.3, 0.2, 0.1))


def _seconds(model: Any, objective: SurveyObjective, number: int) -> float:
    batch = [(number * 4 + place) % len(objective.lengths) for place in range(4)]
    began = time.perf_counter()
    with fast_numbers(model):
        loss = objective.loss(model, batch, np.random.default_rng(number))
    loss.backward()
    model.zero_grad(set_to_none=True)
    return time.perf_counter() - began


ROW = Row(
    "training-step",
    "a step of training an activated adapter on survey answers, against a plain one",
    "four items of four options, rank 16 on all linear layers; both sides in one process, with the same weights",
    measure,
    peers.PEFT,
)
