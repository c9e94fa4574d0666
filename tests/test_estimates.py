"""What a question would cost is what it then costs, and nobody is asked for it."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from modular_pluralism import Estimate, InputError, NoLogProbabilitiesError, Pool, estimate, find_mode
from modular_pluralism.llama import shared_engines
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.types import Scoring
from tests.command import pluralism
from tests.fake_models import FakeChat, Seen, always, choosing, fake_models, fake_pool
from tests.random_model import RANDOM_GGUF

TWO = ("north", "east")
OPTIONS = ["Yes", "No", "Perhaps"]
QUESTION = "Is it right to lie?"


def likes(seen: Seen) -> dict[str, float]:
    return {"A": 0.5, "B": 0.3, "C": 0.1, "1": 0.06, "2": 0.02}


def every_model(make: Any) -> dict[str, FakeChat]:
    return {name: make() for name in ("boss", *TWO)}


@pytest.mark.parametrize("logprobs", [True, False])
@pytest.mark.parametrize(
    ("mode", "settings", "asked"),
    [
        ("overton", {}, {}),
        ("steerable", {}, {"attribute": "thrift"}),
        ("steerable", {"scoring": "rotate"}, {"attribute": "thrift", "options": OPTIONS}),
        *(
            ("distributional", {"scoring": scoring, "voice": voice}, {"options": OPTIONS})
            for scoring in ("label", "rotate")
            for voice in ("comment", "vote", "comment,vote")
        ),
    ],
)
def test_the_calls_are_those_that_a_run_makes(mode: str, settings: Any, asked: Any, logprobs: bool) -> None:
    pool = fake_pool(TWO, score_samples=7)
    models = every_model(lambda: choosing(likes, "A 1" if logprobs else "A"))
    if not logprobs:  # a number of a list where one is picked, else a letter
        models = every_model(lambda: FakeChat(say=lambda seen: "1" if seen.settings.get("max_tokens") == 16 else "A"))
    told = estimate(QUESTION, pool, mode=mode, models=models, **settings, **asked)
    assert not any(model.seen for model in models.values())
    find_mode(mode).graph(pool, models=models, **settings).compile().invoke({"question": QUESTION, **asked})
    made = {
        name: len([each for each in model.seen if logprobs or not each.settings.get("logprobs")])
        for name, model in models.items()
    }
    costs: Counter[str] = Counter()
    for row in told["roles"]:
        costs[row["model"]] += (row["sampled"] or row)["calls"] if not logprobs else row["calls"]
    assert {f"model {name!r}": calls for name, calls in made.items() if calls} == dict(costs)
    whole = told["total"] if logprobs else told["sampled"] or told["total"]
    assert whole["calls"] == sum(made.values())


def test_it_is_plain_and_says_what_it_has_guessed() -> None:
    told = estimate(
        QUESTION, fake_pool(TWO), mode="distributional", options=OPTIONS, models=every_model(lambda: always("A"))
    )
    assert json.loads(json.dumps(told)) == told
    assert set(told) == set(get_type_hints(Estimate))
    assert {row["tokens"] for row in told["roles"]} == {"estimated"}
    assert {row["role"] for row in told["roles"]} == {"comment", "score"}
    assert told["total"]["calls"] == 2 + 2 * 3
    assert told["sampled"] is not None
    assert told["sampled"]["calls"] == 2 + 2 * 18, "20 samples are shared out among three rotations"


def test_what_the_builder_takes_beside_is_counted() -> None:
    def told(mode: str, **more: Any) -> list[tuple[str, str, int, str]]:
        asked: Any = {"overton": {}, "steerable": {"attribute": "thrift", "options": OPTIONS}}.get(
            mode, {"options": OPTIONS}
        )
        cost = estimate(QUESTION, pool, mode=mode, models=every_model(lambda: always("A")), **asked, **more)
        return [(row["role"], row["model"], row["calls"], row["tokens"]) for row in cost["roles"]]

    pool = fake_pool(TWO)
    assert told("overton", communities=["north"], merge=len) == [
        ("comment", "model 'north'", 1, "estimated"),
        ("merge", "merge", 1, "unknown"),
    ]
    assert told("overton", comments={"north": "Hm."}, after_comments=[len, str])[:3] == [
        ("comment", "model 'east'", 1, "estimated"),
        ("after_comment", "after_comments[0]", 2, "unknown"),
        ("after_comment", "after_comments[1]", 2, "unknown"),
    ]
    assert told("steerable", selector=len, respond=len)[2:] == [
        ("select", "selector", 1, "unknown"),
        ("respond", "respond", 1, "unknown"),
    ]
    assert told("distributional", pooling=max)[-1] == ("aggregate", "pooling", 1, "unknown")
    with pytest.raises(InputError, match="estimate: Overton mode has no argument 'pooling'; beside estimate's own it"):
        told("overton", pooling="median")


def embedded_pool() -> Pool:
    return Pool.model_validate(
        {
            "base": "m",
            "models": {"m": {"gguf": str(RANDOM_GGUF), "prepared": False}},
            "communities": {name: {"model": "m", "description": name} for name in TWO},
            "run": {"comment_tokens": 6, "answer_tokens": 9, "score_samples": 5},
        }
    )


@pytest.mark.parametrize("scoring", get_args(Scoring))
def test_an_embedded_models_tokens_are_counted_without_its_weights(scoring: Scoring) -> None:
    pool = embedded_pool()
    before = len(shared_engines._engines)
    told = estimate(QUESTION, pool, mode="distributional", options=OPTIONS, scoring=scoring)
    assert len(shared_engines._engines) == before
    comment, score = told["roles"]
    assert (comment["tokens"], score["tokens"]) == ("counted", "counted")
    assert told["sampled"] is None, "it reports log-probabilities"
    models = PoolModels(pool)
    graph = find_mode("distributional").graph(pool, scoring=scoring, models=models).compile()
    said = graph.invoke({"question": QUESTION, "options": OPTIONS})["comments"]
    assert comment["prompt_tokens"] == sum(each["prompt_tokens"] for each in said.values())
    assert comment["completion_tokens"] == 2 * 6
    assert score["calls"] == 2 * {"label": 1, "rotate": 3, "text": 1}[scoring]
    assert score["completion_tokens"] == 0


POOL = """base = "m"
[models.m]
openai = "far"
base_url = "http://127.0.0.1:9/v1"
[communities.a]
model = "m"
description = "A"
[run]
attempts = 1
score_samples = 80
"""
LIE = ("ask", "Is it right to lie?", "--mode", "distributional", "-o", "Yes", "-o", "No")


def test_the_command_prints_it_and_asks_nobody(tmp_path: Path) -> None:
    (tmp_path / "pool.toml").write_text(POOL)
    shown = pluralism(*LIE, "--pool", "pool.toml", "--dry-run", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[-1] == "No model was asked."
    assert re.search(r"all +│ +│ +3 │ +~\d+ │ +130 │", shown.stdout)
    told = pluralism(*LIE, "--pool", "pool.toml", "--dry-run", "--json", cwd=tmp_path)
    assert json.loads(told.stdout)["sampled"]["calls"] == 81
    kept = pluralism(*LIE, "--dry-run", "--thread", "x", cwd=tmp_path)
    assert (kept.returncode, kept.stdout) == (2, "")


def test_the_command_hints_at_many_samples_before_it_asks(tmp_path: Path) -> None:
    (tmp_path / "pool.toml").write_text(POOL)
    done = pluralism(*LIE, "--pool", "pool.toml", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "Where a model reports no log-probabilities, options are read from sampled replies: that is 81 calls for this "
        "question, instead of 3."
    )
    quiet = pluralism(*LIE, "--pool", "pool.toml", "--quiet", cwd=tmp_path)
    assert quiet.stderr.startswith("Error: ")


def test_what_a_run_would_refuse_is_refused() -> None:
    with pytest.raises(InputError, match="takes no attribute"):
        estimate(QUESTION, fake_pool(TWO), attribute="age")
    models = fake_models(always("A"), TWO)
    with pytest.raises(NoLogProbabilitiesError, match="cannot score given texts"):
        estimate(QUESTION, fake_pool(TWO), mode="distributional", options=OPTIONS, scoring="text", models=models)
