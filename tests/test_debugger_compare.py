"""Looking at results: two runs compared, an answer attributed, distributions and the selector's choice described."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from modular_pluralism.debugger.attribution import attribute_answer
from modular_pluralism.debugger.compare import compare_runs, compare_texts
from modular_pluralism.debugger.distributions import describe_distributions, read_otherwise
from modular_pluralism.debugger.export import run_as_html
from modular_pluralism.debugger.fork import ForkRequest, start_fork
from modular_pluralism.debugger.history import KeptRun, read_run
from modular_pluralism.debugger.live import start_run
from modular_pluralism.errors import InputError
from modular_pluralism.runs.edits import Edits
from tests.debugging import NAMES, Bench, followed, open_bench
from tests.fake_models import FakeChat, always, choosing, scripted


async def run(bench: Bench, mode: str, name: str, **more: Any) -> KeptRun:
    await followed(await start_run(bench.store, bench.request(mode, **more), run=name, models=bench.models))
    return await read_run(bench.store, name)


def test_texts_are_compared_word_by_word() -> None:
    compared = compare_texts("the answer", "Cars are bad, they say.", "Cars are quite good, they say.")
    assert [(span.kind, span.text) for span in compared.spans] == [
        ("same", "Cars are "),
        ("removed", "bad"),
        ("added", "quite good"),
        ("same", ", they say."),
    ]
    assert not compared.same
    assert compare_texts("x", None, "New.").spans[0].kind == "added"
    assert compare_texts("x", "Old.", "Old.").same


async def test_a_fork_is_compared_with_its_parent(tmp_path: Path) -> None:
    boss = choosing(lambda seen: {"A": 0.6, "B": 0.2})
    async with open_bench(tmp_path, boss=boss) as bench:
        parent = await run(bench, "distributional", "parent", scoring="label")
        boss.prefer = lambda seen: {"A": 0.1, "B": 0.6} if "Mine." in seen.prompt else {"A": 0.6, "B": 0.2}
        request = ForkRequest(run="parent", edits=Edits(comments={"bob": "Mine."}, priors={"bob": 3.0}))
        await followed(await start_fork(bench.store, request, run="fork", models=bench.models))
        compared = compare_runs(parent, await read_run(bench.store, "fork"))
    assert {(each.key, each.before, each.after) for each in compared.settings} == {
        ("edited comment of bob", None, "Mine."),
        ("edited prior of bob", None, 3.0),
    }
    assert [each.name for each in compared.comments if not each.same] == ["bob"]
    distances = {each.name: each.distance for each in compared.distributions}
    assert distances["ann"] == 0.0
    assert distances["bob"] is not None
    assert 0 < distances["bob"] < math.sqrt(math.log(2))
    assert compared.pooled is not None
    assert compared.pooled.distance
    assert compared.pooled.options == ["Yes", "No"]


async def test_runs_of_two_modes_are_compared(tmp_path: Path) -> None:
    async with open_bench(tmp_path, bob=FakeChat(say=scripted("Hi.", ValueError("gone")))) as bench:
        one = await run(bench, "overton", "one")
        other = await run(bench, "steerable", "other", seed=6)
    compared = compare_runs(one, other)
    assert {each.key for each in compared.settings} == {"mode", "attribute", "scoring", "seed"}
    bob = next(each for each in compared.comments if each.name == "bob")
    assert (bob.one, bob.other) == ("Hi.", "(failed: model 'bob' failed: gone.)")
    assert compared.pooled is None


SAID = {
    "ann": "Cars poison the air that children breathe.",
    "bob": "Shops lose customers when parking disappears.",
    "cem": "Buses must come first, and often.",
}


async def test_sentences_are_put_to_the_comment_whose_words_they_share(tmp_path: Path) -> None:
    answer = "Some say cars poison the air. Others fear that shops lose customers. Tradition matters to nobody here."
    models = {name: always(text) for name, text in SAID.items()}
    async with open_bench(tmp_path, boss=always(answer), **models) as bench:
        kept = await run(bench, "overton", "one")
    found = await attribute_answer(kept.state)
    assert [each.source for each in found.sentences] == ["ann", "bob", None]
    assert found.left_out == ["cem"]
    assert found.method == "shared words"
    assert "0.4" in found.note
    assert all(0 <= score <= 1 for each in found.sentences for score in each.scores.values())


async def test_a_model_of_the_pool_can_judge(tmp_path: Path) -> None:
    def prefer(seen: Any) -> dict[str, float]:
        text = seen.prompt.partition("Options:")
        yes = "A" if "A. Yes" in text[2] else "B"
        return {yes: 0.9, "AB".replace(yes, ""): 0.1} if "poison the air that" in text[0] else {"A": 0.5, "B": 0.5}

    boss = choosing(prefer, "Some say cars poison.")
    async with open_bench(tmp_path, boss=boss, **{name: always(text) for name, text in SAID.items()}) as bench:
        kept = await run(bench, "overton", "one")
        made_of = kept.setup.load()
        found = await attribute_answer(kept.state, "llm", pool=made_of.pool, models=bench.models)
    assert found.sentences[0].source == "ann"
    assert found.sentences[0].scores == pytest.approx({"ann": 0.9, "bob": 0.5, "cem": 0.5})
    assert "Not the paper's measure" in found.note


async def test_of_a_steerable_run_only_the_selected_comment_counts(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        kept = await run(bench, "steerable", "one")
    found = await attribute_answer(kept.state)
    assert [list(each.scores) for each in found.sentences] == [["bob"]] * len(found.sentences)


async def test_there_is_nothing_to_attribute(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        kept = await run(bench, "distributional", "one")
    with pytest.raises(InputError, match="no answer"):
        await attribute_answer(kept.state)


async def test_distributions_are_described(tmp_path: Path) -> None:
    def prefer(seen: Any) -> dict[str, float]:
        return {"A": 0.6, "B": 0.2} if "The view of ann" in seen.prompt else {"A": 0.3, "B": 0.3}

    async with open_bench(tmp_path, boss=choosing(prefer)) as bench:
        kept = await run(bench, "distributional", "one", scoring="label")
        view = describe_distributions(kept.state)
        rotated = await read_otherwise(kept, "rotate", models=bench.models)
        asked = bench.asked()
        again = await run(bench, "distributional", "two")
        since = bench.asked_since(asked)["boss"]
        labels = await read_otherwise(again, "label", models=bench.models)
        assert bench.asked_since(asked)["boss"] == since
    assert [each.community for each in view.communities] == list(NAMES)
    assert view.communities[0].read["probabilities"] == pytest.approx([0.75, 0.25])
    pooled = kept.state["distribution"]
    assert pooled == pytest.approx([(0.75 + 1) / 3, (0.25 + 1) / 3])
    assert kept.state["label_mass"] == pytest.approx((0.8 + 1.2) / 3)
    assert 0 < kept.state["disagreement"] < view.most_disagreement == pytest.approx(math.log(2))
    assert view.label_pooled == pytest.approx(pooled)
    assert rotated["ann"]["scoring"] == "rotate"
    assert rotated["ann"]["probabilities"] == pytest.approx([0.5, 0.5])
    assert labels["ann"]["probabilities"] == pytest.approx([0.75, 0.25])
    other = describe_distributions(again.state)
    assert other.label_pooled == pytest.approx(pooled)


async def test_a_selection_without_probabilities_is_told(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        selected = (await run(bench, "steerable", "one")).state["selected"]
        page = await run_as_html(bench.store, "one")
    assert selected["community"] == "bob"
    assert selected["probabilities"] == pytest.approx({"ann": 0.25, "bob": 0.625, "cem": 0.125})
    assert "62.5" in page
    assert "no log-probabilities" not in page
    async with open_bench(tmp_path, boss=always("Comment 3.")) as bench:
        selected = (await run(bench, "steerable", "two")).state["selected"]
        page = await run_as_html(bench.store, "two")
    assert (selected["community"], selected["probabilities"]) == ("cem", None)
    assert "no log-probabilities" in page
