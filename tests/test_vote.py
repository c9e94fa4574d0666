"""Communities that vote: their own distributions, alone and beside their comments."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models.chat_models import BaseChatModel
from langgraph.checkpoint.memory import InMemorySaver

from modular_pluralism import Pool, PromptSet, pluralism_tool
from modular_pluralism.assistants.context import read_context
from modular_pluralism.debugger.fork import ForkRequest, start_fork
from modular_pluralism.debugger.history import read_run
from modular_pluralism.debugger.kept_tasks import read_tasks
from modular_pluralism.debugger.live import RunRequest, start_run
from modular_pluralism.errors import ContextError, InputError, ModelLoadError, PoolError, QuorumError
from modular_pluralism.evaluation.data.items import OptionItem
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.run.evaluation import Evaluation, EvaluationSettings, Files
from modular_pluralism.evaluation.run.methods import Setting, build_methods
from modular_pluralism.graphs import build_distributional, build_pluralism
from modular_pluralism.graphs.node_cache import NodeCache
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.modes import find_mode
from modular_pluralism.nodes.aggregate import Voicing, unite
from modular_pluralism.option_math import linear_pool, log_linear_pool
from modular_pluralism.runs.edits import Edits
from modular_pluralism.runs.location import find_location
from modular_pluralism.runs.opening import open_run_store
from modular_pluralism.runs.setup import Setup
from modular_pluralism.types import OptionDistribution, Pooling, Voices
from tests.command import pluralism
from tests.fake_models import FakeChatWithLogprobs, Seen, always, choosing, fake_pool, label_of
from tests.short_pool import pair_pool, short_pool
from tests.task_items import value_item, write_task

OPTIONS = ["Yes", "No", "Only some"]
ASKED = {"question": "Should everybody vote?", "options": OPTIONS}
TWO = ("north", "east")
OWN = {"north": [0.7, 0.2, 0.1], "east": [0.1, 0.3, 0.6]}
READ = [0.2, 0.5, 0.3]


def voter(own: list[float], said: str = "A view.") -> FakeChatWithLogprobs:
    """A community that comments with `said`, and votes as `own` whatever the order; a tenth is no letter."""

    def prefer(seen: Seen) -> dict[str, float]:
        return {"The": 0.1} | {
            label_of(option, seen.prompt): 0.9 * share for option, share in zip(OPTIONS, own, strict=True) if share
        }

    return choosing(prefer, said)


def built(voice: Voices = "vote", *, base: BaseChatModel | None = None, pool: Any = None, **changes: Any) -> Any:
    given = pool if isinstance(pool, Pool) else fake_pool(TWO, **(pool or {}))
    models = {name: voter(OWN[name]) for name in given.communities} | changes.pop("models", {})
    settings: dict[str, Any] = {"scoring": "rotate", **changes}
    return build_distributional(given, voice=voice, models={"boss": base or voter(READ), **models}, **settings)


def run(voice: Voices = "vote", asked: Any = None, **changes: Any) -> Any:
    return built(voice, **changes).compile().invoke(asked or ASKED)


# Votes


@pytest.mark.parametrize("scoring", ["label", "rotate"])
def test_votes_are_pooled_and_nobody_comments(scoring: str) -> None:
    base = always("x")
    models = {name: voter(own) for name, own in OWN.items()}
    result = run(base=base, models=models, scoring=scoring, pool={"priors": [3.0, 1.0]})
    assert result["distribution"] == pytest.approx(linear_pool(list(OWN.values()), [0.75, 0.25]))
    assert (result["weights"], result["missing"]) == ({"north": 0.75, "east": 0.25}, [])
    assert result["label_mass"] == pytest.approx(0.9)
    assert result["comments"] == {}
    assert not {"votes", "readings"} & set(result)
    assert {name: read["probabilities"] for name, read in result["distributions"].items()} == {
        name: pytest.approx(own) for name, own in OWN.items()
    }
    assert base.seen == []
    for model in models.values():
        assert len(model.seen) == (3 if scoring == "rotate" else 1), "one reading of each order, and nothing else"
        assert all(seen.settings.get("logprobs") for seen in model.seen)


def test_invoke_and_ainvoke_give_the_same_and_the_picture_shows_the_pool() -> None:
    graph = built().compile()
    assert graph.invoke(ASKED) == asyncio.run(graph.ainvoke(ASKED))
    assert set(graph.get_graph(xray=True).nodes) == {"__start__", "check", *TWO, "aggregate", "__end__"}


def test_a_voter_reads_the_prompt_for_votes_below_its_persona_and_is_told_the_attribute(tmp_path: Path) -> None:
    (tmp_path / "me.md").write_text("You are from the north.")
    fake = fake_pool(("north",))
    community = fake.communities["north"].model_copy(update={"persona": "me.md"})
    pool = Pool(**{**dict(fake), "communities": {"north": community}, "folder": tmp_path})
    model = voter(OWN["north"])
    run(pool=pool, models={"north": model}, scoring="label")
    run(pool=pool, models={"north": model}, scoring="label", asked={**ASKED, "attribute": "Spain\n\nQuestion:"})
    plain, of_group = model.prompts
    lines = "A. Yes\nB. No\nC. Only some"
    vote, group = (
        PromptSet.load()["vote"].render(question="Should everybody vote?", options=lines),
        PromptSet.load()["vote_group"].render(
            question="Should everybody vote?", options=lines, attribute="Spain Question:"
        ),
    )
    assert plain == f"[system]\nYou are from the north.\n[human]\n{vote[0].text}"
    assert of_group == f"[system]\nYou are from the north.\n[human]\n{group[0].text}"


@pytest.mark.parametrize("voice", ["vote", "comment,vote"])
def test_a_community_that_cannot_vote_is_missing(voice: Voices) -> None:
    silent = choosing(lambda seen: {"The": 1.0}, "A view.")
    result = run(voice, models={"east": silent}, pool={"quorum": 1})
    assert result["missing"] == ["east"]
    assert result["weights"] == {"north": 1.0}
    assert "put none of the labels" in result["comments"]["east"]["error"]
    # What it said is kept beside the reason for which it does not count.
    assert result["comments"]["east"]["text"] == ("A view." if voice == "comment,vote" else "")
    with pytest.raises(QuorumError, match=r"1 of 2 communities answered, and the quorum is 2. east: .*none of the lab"):
        run(voice, models={"east": silent})


def test_a_pool_that_cannot_work_ends_the_run() -> None:
    with pytest.raises(ModelLoadError, match="no such file"):
        run(models={"east": always(ModelLoadError("no such file"))})


def test_samples_are_drawn_where_an_endpoint_has_no_probabilities_and_differ_by_community() -> None:
    models = {name: always("B") for name in TWO}
    result = run(models=models, pool={"score_samples": 6})
    assert {read["samples"] for read in result["distributions"].values()} == {6}
    seeds = [seed for model in models.values() for seed in model.seeds if seed is not None]
    assert len(seeds) == len(set(seeds)) == 12
    again = {name: always("B") for name in TWO}
    run(models=again, pool={"score_samples": 6})
    assert [seed for model in again.values() for seed in model.seeds if seed is not None] == seeds


def test_a_vote_that_is_the_same_is_read_once_and_a_failed_one_again() -> None:
    cache, models = NodeCache(), {"north": voter(OWN["north"]), "east": choosing(lambda seen: {"The": 1.0})}
    graph = built(models=models, pool={"quorum": 1}).compile(cache=cache)
    first = graph.invoke(ASKED)
    assert graph.invoke(ASKED) == first
    assert len(models["north"].seen) == 3
    assert len(models["east"].seen) == 6
    graph.invoke({**ASKED, "attribute": "Spain"})
    assert len(models["north"].seen) == 6


def test_a_second_question_leaves_nothing_of_the_first() -> None:
    graph = built("comment,vote").compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    first = graph.invoke(ASKED, config)
    assert json.loads(json.dumps(first)) == first
    assert {**ASKED, **first} == graph.get_state(config).values
    with pytest.raises(AssertionError, match="is no option in"):  # the fakes know other options only
        graph.invoke({"question": "Second?", "options": ["Other", "Another"]}, config)
    values = graph.get_state(config).values
    assert values["votes"] == values["distributions"] == {}
    assert values["readings"] is values["distribution"] is None


def test_an_unknown_voice_and_a_comment_for_a_voter_are_refused() -> None:
    with pytest.raises(InputError, match="no voice 'loud'; use comment, vote, record"):
        built("loud")
    with pytest.raises(InputError, match="A comment of east is given"):
        built(comments={"east": "Mine."})


# Both voices


@pytest.mark.parametrize(("pooling", "pool"), [("linear", linear_pool), ("log-linear", log_linear_pool)])
def test_both_voices_of_each_community_are_united_before_the_communities_are_pooled(pooling: str, pool: Any) -> None:
    result = run("comment,vote", pool={"voice_weights": {"comment": 3.0}, "voice_pooling": pooling})
    united = {name: pool([READ, own], [0.75, 0.25]) for name, own in OWN.items()}
    for name, own in OWN.items():
        assert result["comments"][name]["text"] == "A view."
        assert result["votes"][name]["probabilities"] == pytest.approx(own)
        assert result["readings"][name]["probabilities"] == pytest.approx(READ)
        assert result["distributions"][name]["probabilities"] == pytest.approx(united[name])
        assert result["distributions"][name]["mass"] == pytest.approx(0.9)
    assert result["distribution"] == pytest.approx(linear_pool(list(united.values()), [0.5, 0.5]))


def test_by_default_both_voices_weigh_the_same_and_are_pooled_linearly() -> None:
    result = run("comment,vote")
    assert result["distributions"]["north"]["probabilities"] == pytest.approx(
        linear_pool([READ, OWN["north"]], [0.5, 0.5])
    )


def test_a_voice_is_taken_at_its_temperature_and_kept_as_it_was() -> None:
    result = run("comment,vote", pool={"voice_temperatures": {"vote": 0.5}})
    for name, own in OWN.items():
        squared = np.square(own) / np.square(own).sum()
        assert result["distributions"][name]["probabilities"] == pytest.approx(linear_pool([READ, squared], [0.5, 0.5]))
        assert result["votes"][name]["probabilities"] == pytest.approx(own)
    assert run("vote", pool={"voice_temperatures": {"vote": 0.5}})["distribution"] == run("vote")["distribution"]


def test_voices_with_no_option_in_common_make_a_community_missing() -> None:
    certain = {"north": voter([1.0, 0.0, 0.0]), "east": voter(OWN["east"])}
    result = run(
        "comment,vote", base=voter([0.0, 0.5, 0.5]), models=certain, pool={"voice_pooling": "log-linear", "quorum": 1}
    )
    assert result["missing"] == ["north"]
    assert 'set voice_pooling = "linear"' in result["comments"]["north"]["error"]


shares = st.lists(st.floats(0.01, 1), min_size=3, max_size=3).map(lambda each: [value / sum(each) for value in each])


def as_read(probabilities: list[float]) -> OptionDistribution:
    return OptionDistribution(
        probabilities=probabilities, mass=0.5, scoring="label", samples=None, unread=[], label=None, label_mass=None
    )


def together(one: list[float], other: list[float], share: float, pooling: Any) -> OptionDistribution:
    voices = Voicing({"comment": 1 - share, "vote": share}, pooling)
    return unite({"comment": as_read(one), "vote": as_read(other)}, voices)


@given(shares, shares, st.floats(0, 1))
def test_uniting_lies_between_the_two_voices(one: list[float], other: list[float], share: float) -> None:
    for pooling in get_args(Pooling):
        united = together(one, other, share, pooling)["probabilities"]
        assert sum(united) == pytest.approx(1)
        if share in (0, 1):
            assert united == pytest.approx(other if share else one)
    linear = together(one, other, share, "linear")["probabilities"]
    for low, high, value in zip(map(min, one, other), map(max, one, other), linear, strict=True):
        assert low - 1e-12 <= value <= high + 1e-12


# Priors by attribute


def test_the_attribute_s_own_priors_are_used_where_there_are_some() -> None:
    pool = Pool(**{**dict(fake_pool(TWO)), "priors_by_attribute": {"Spain": {"north": 3.0, "east": 1.0}}})
    weights = {
        attribute: run(pool=pool, asked={**ASKED, "attribute": attribute})["weights"]
        for attribute in ("Spain", " Spain\n", "Kenya")
    }
    assert weights["Spain"] == weights[" Spain\n"] == {"north": 0.75, "east": 0.25}
    assert weights["Kenya"] == run(pool=pool)["weights"] == {"north": 0.5, "east": 0.5}


def test_a_community_that_its_attribute_leaves_out_has_no_weight() -> None:
    pool = Pool(**{**dict(fake_pool(TWO, quorum=1)), "priors_by_attribute": {"Spain": {"north": 1.0}}})
    spain = {**ASKED, "attribute": "Spain"}
    assert run(pool=pool, asked=spain)["weights"] == {"north": 1.0, "east": 0.0}
    with pytest.raises(QuorumError, match="prior of 0 for 'Spain'"):
        run(pool=pool, asked=spain, models={"north": choosing(lambda seen: {"The": 1.0})})
    assert pool.priors_tables(["east"]) == {}


POOL = """base = "m"
[models.m]
gguf = "m.gguf"
[communities.north]
model = "m"
description = "d"
[communities.south]
model = "m"
description = "d"
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[priors.Spain]\nnort = 1", "[priors.Spain] names no community of this pool ('nort')"),
        ("[priors.Spain]\nnorth = -1", "[priors.Spain] north must be at least 0"),
        ("[priors.Spain]\nnorth = 0", "[priors.Spain] gives no community a prior above 0"),
        ("[priors.Spain]\n", "[priors.Spain] gives no community a prior above 0"),
        ('[priors.Spain]\nnorth = "1"', "[priors.Spain] north must be a number, not '1'"),
        ("[priors.Spain]\nnorth = inf", "[priors.Spain] north must be a finite number"),
        ("[priors.'']\nnorth = 1", "[priors.''] names no attribute"),
        ("[priors.Spain]\nnorth = 1\n[priors.'Spain ']\nnorth = 1", "is for the same attribute as [priors.Spain]"),
        ("[run]\nvoice_weights = {vote = -1}", "[run] voice_weights must be at least 0.0, not -1"),
        ("[run]\nvoice_weights = {loud = 1}", "[run] voice_weights must be 'comment', 'vote' or 'record', not 'loud'"),
        (
            "[run]\nrecord_gate = [0.5, 0.2]",
            "[run] record_gate must be two similarities from 0 to 1 of which the second is larger, such as [0.2, 0.4], "
            "not [0.5, 0.2]",
        ),
        ("[run]\nvoice_temperatures = {vote = 0}", "[run] voice_temperatures must be above 0.0, not 0"),
        ("[run]\nvoice_pooling = 'max'", "[run] voice_pooling must be 'linear' or 'log-linear', not 'max'"),
    ],
)
def test_bad_tables_are_refused_in_a_sentence(text: str, message: str) -> None:
    with pytest.raises(PoolError) as caught:
        Pool.from_toml(POOL + text, source="pool.toml", folder=Path())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# Where the option passes through


def test_the_graph_of_all_modes_and_the_tool_hear_votes() -> None:
    models = {"boss": always("x"), **{name: voter(own) for name, own in OWN.items()}}
    pool = fake_pool(TWO)
    asked: Any = {**ASKED, "mode": "distributional"}
    own = linear_pool(list(OWN.values()), [0.5, 0.5])
    assert build_pluralism(pool, voice="vote", models=models).compile().invoke(asked)["distribution"] == pytest.approx(
        own
    )
    both = build_pluralism(pool, voice="comment,vote", models={**models, "boss": voter(READ)}).compile().invoke(asked)
    assert set(both["votes"]) == set(both["readings"]) == set(TWO)
    tool = pluralism_tool(pool, mode="distributional", voice="vote", models=models)
    assert "Yes: 40.0%" in tool.invoke(ASKED)
    with pytest.raises(InputError, match="'vote' is for distributional mode"):
        pluralism_tool(pool, voice="vote", models=models)


def test_a_server_s_client_may_choose_the_voice() -> None:
    assert getattr(read_context("distributional", {"voice": "vote"}), "voice", None) == "vote"
    assert getattr(read_context("pluralism", {}), "voice", None) == "comment"
    with pytest.raises(ContextError, match="voice"):
        read_context("distributional", {"voice": "loud"})


def test_the_setup_of_a_run_from_before_there_were_voices_is_read() -> None:
    pool, prompts = Pool.load("culture"), PromptSet.load()
    setup = Setup.of("distributional", "rotate", dict(ASKED), ("culture", pool), (None, prompts))
    old = setup.model_dump(mode="json")
    assert old.pop("voice") == "comment"
    assert Setup.model_validate(old) == setup
    assert setup.load().pool == pool
    # What a vote is read with is no part of a run in which nobody votes.
    changed = prompts.with_texts({"vote": "{question} {options}"}, "mine")
    again = Setup.of("distributional", "rotate", dict(ASKED), ("culture", pool), (None, changed))
    assert again.prompts_fingerprint == setup.prompts_fingerprint
    voting = [
        Setup.of("distributional", "rotate", dict(ASKED), ("culture", pool), (None, texts), voice="vote")
        for texts in (prompts, changed)
    ]
    assert voting[0].prompts_fingerprint != voting[1].prompts_fingerprint


KEPT_POOL = """base = "boss"
[models.boss]
openai = "boss"
base_url = "http://127.0.0.1:9/v1"
[models.north]
openai = "north"
base_url = "http://127.0.0.1:9/v1"
[models.east]
openai = "east"
base_url = "http://127.0.0.1:9/v1"
[communities.north]
model = "north"
description = "North"
[communities.east]
model = "east"
description = "East"
[run]
attempts = 1
"""


@pytest.mark.parametrize("voice", ["vote", "comment,vote"])
def test_a_kept_run_is_shown_and_a_fork_of_it_reads_no_vote_again(tmp_path: Path, voice: Voices) -> None:
    (tmp_path / "pool.toml").write_text(KEPT_POOL)
    models: dict[str, BaseChatModel] = {"boss": voter(READ), **{name: voter(own) for name, own in OWN.items()}}
    request = RunRequest(
        question="Should everybody vote?", mode="distributional", pool=str(tmp_path / "pool.toml"), options=OPTIONS,
        voice=voice,
    )  # fmt: skip

    async def watched() -> tuple[Any, Any, Any, Any]:
        async with open_run_store(find_location(str(tmp_path / "runs.sqlite")), 30.0) as store:
            live = await start_run(store, request, models=models)
            await live.wait()
            events = [event async for event in live.events()]
            tasks = await read_tasks(store, live.run)
            fork = await start_fork(store, ForkRequest(run=live.run, edits=Edits(priors={"north": 3.0})), models=models)
            await fork.wait()
            assert [step.step for step in (await read_run(store, fork.run)).steps]
            return events, tasks, await read_run(store, live.run), await read_run(store, fork.run)

    events, tasks, kept, fork = asyncio.run(watched())
    boxes = {box.id for box in find_mode("distributional").nodes(TWO, voice=voice)}
    assert boxes == {box.id for box in events[0].nodes} == {task.id for task in tasks}
    assert {getattr(event, "node", "check") for event in events} <= boxes
    calls = [event.record for event in events if hasattr(event, "record")]
    votes = [call for call in calls if call.role == "vote"]
    assert {call.model.partition(" (")[0] for call in votes} == {"model 'north'", "model 'east'"}
    assert {call.node for call in votes} == {name if voice == "vote" else f"{name}/vote" for name in TWO}
    assert kept.setup.voice == fork.setup.voice == voice
    assert fork.state["weights"] == {"north": 0.75, "east": 0.25}
    assert set(fork.reused) == boxes - {"check", "aggregate"} or set(fork.reused) == boxes - {"aggregate"}
    assert len([seen for name in TWO for seen in models[name].seen if seen.settings.get("logprobs")]) == 6  # type: ignore[attr-defined]


def test_a_voice_for_another_mode_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    done = pluralism("ask", "Why?", "--voice", "vote", "--pool", str(tmp_path / "none.toml"))
    assert done.returncode == 2
    assert "The voice 'vote' is for distributional mode" in done.stderr


@pytest.mark.model
def test_the_demo_model_s_communities_vote(tmp_path: Path) -> None:
    asked = ("ask", "What is the capital of France?", "--mode", "distributional", "--option", "Paris")
    options = ("--option", "A green horse", "--score", "text", "--voice", "vote", "--json")
    done = pluralism(*asked, *options, "--pool", str(pair_pool(tmp_path)))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result["distributions"]) == ["left", "right"]
    assert result["distribution"][0] > 0.8
    assert 0.001 < result["label_mass"] < 1, "it does say Paris"


def test_communities_of_an_embedded_model_vote(tmp_path: Path) -> None:
    asked = ("ask", "Is it acceptable to lie?", "--mode", "distributional", "--option", "Yes", "--option", "No")
    pool = short_pool(tmp_path, "culture")
    done = pluralism(*asked, "--voice", "vote", "--json", "--pool", str(pool))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["voice"], result["comments"]) == ("vote", {})
    assert len(result["distributions"]) == 5
    assert sum(result["distribution"]) == pytest.approx(1)
    assert result["disagreement"] > 0, "the personas are read"
    both = pluralism(*asked, "--voice", "comment,vote", "--pool", str(pool))
    assert both.returncode == 0, both.stderr
    assert "Disagreement" in both.stdout
    by_text = pluralism(*asked, "--voice", "vote", "--score", "text", "--pool", str(pool)).stdout
    assert "Probability of the options' own words " in by_text
    assert "read these numbers with care" not in by_text
    assert "Label mass" not in by_text


def test_an_evaluation_pools_votes_and_refuses_them_in_other_modes(tmp_path: Path) -> None:
    models: dict[str, BaseChatModel] = {"boss": always("x"), **{name: voter(own) for name, own in OWN.items()}}
    pool = fake_pool(TWO)
    setting = Setting("distributional", pool, PoolModels(pool, models), PromptSet.load(), "rotate", 0, voice="vote")
    item = OptionItem(1, "Should everybody vote?", tuple(OPTIONS), "Spain", (0.5, 0.25, 0.25), None, options_found=True)
    outcome = asyncio.run(build_methods(["modular"], setting)[0].answer(item))
    assert outcome["prediction"] is not None
    assert outcome["prediction"]["rotate"] == pytest.approx(linear_pool(list(OWN.values()), [0.5, 0.5]))
    assert outcome["prediction"]["label"] == pytest.approx(linear_pool(list(OWN.values()), [0.5, 0.5]))
    assert (outcome["comments"], outcome["missing"], outcome["tokens"]["generated"]) == ({}, [], 0)
    task = TaskFile.open(write_task(tmp_path / "task.json", [value_item(0)]))
    with pytest.raises(InputError, match="--voice vote is for distributional mode, and this file is steerable-value"):
        Evaluation(task, EvaluationSettings(voice="vote"), Files(tmp_path / "out"))
