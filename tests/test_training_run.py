"""Whole trainings on a tiny random model: what they leave, and that a stopped one goes on exactly where it was."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from modular_pluralism.errors import AdapterError, ModelLoadError
from modular_pluralism.llama import ChatLlama, Engine, EngineSettings
from modular_pluralism.llama.job import Adapter
from modular_pluralism.nodes.render import option_lines, quoted
from modular_pluralism.prompts import PromptSet
from modular_pluralism.records.rows import Row
from modular_pluralism.training import Base, Data, Trained, TrainingDataError, TrainingError, TrainingSettings
from modular_pluralism.training.fit import Point, steps_of
from modular_pluralism.training.measure import CHANGE
from modular_pluralism.training.model_card import TrainingResults, card_text
from modular_pluralism.training.survey_objective import SurveyObjective
from modular_pluralism.training.train import check_training, train_community
from modular_pluralism.training.vote_prompts import VoteEncoder
from tests.training_models import survey_rows, write_tiny

SETTINGS = TrainingSettings(rank=4, batch=8, epochs=100, steps=24, check_every=6, rate=1e-2, unnamed=0.2)


class Silent:
    def __init__(self) -> None:
        self.began: list[int] = []
        self.steps = 0

    def started(self, step: int, steps: int) -> None:
        self.began.append(step)

    def stepped(self, step: int, loss: float) -> None:
        self.steps += 1

    def checked(self, point: Point, best: bool) -> None:
        pass


def survey(**changes: Any) -> Data:
    rows = [Row(row | changes, f"survey, row {number}") for number, row in enumerate(survey_rows(), start=1)]
    return Data(rows, ["survey.json"], ["continent=europe"], license="CC0-1.0")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    path = write_tiny(tmp_path_factory.mktemp("base") / "tiny.gguf")
    return Base(gguf=path, source="tiny.gguf", context=512)


@pytest.fixture(scope="module")
def whole(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_community("europe", survey(), base, tmp_path_factory.mktemp("whole"), SETTINGS, Silent())


def tensors(path: Path) -> dict[str, Any]:
    return {str(tensor.name): np.array(tensor.data) for tensor in gguf.GGUFReader(path).tensors}


def test_a_training_leaves_an_adapter_a_card_figures_and_a_curve(whole: Trained) -> None:
    folder = whole.adapter.parent
    assert sorted(path.name for path in folder.iterdir()) == ["europe.gguf", "europe.json", "europe.md", "europe.svg"]
    results = json.loads(whole.results.read_text())
    assert results["curve"][-1]["held_out"] < results["curve"][0]["held_out"]
    assert results["counts"]["questions held out"] == "3"
    figures = whole.figures
    assert figures["with the adapter"].value is not None
    assert figures["without it"].value is not None
    assert figures["with the adapter"].value < figures["without it"].value
    card = whole.card.read_text()
    for part in ("survey.json", "continent=europe", "CC0-1.0", "95 % interval", "must not be used for", "tiny.gguf"):
        assert part in card
    assert whole.curve.read_text().startswith("<?xml")


def test_an_activated_training_leaves_an_adapter_that_acts_from_the_models_turn_on(
    whole: Trained, base: Base, tmp_path: Path
) -> None:
    activated = SETTINGS.model_copy(update={"activated": True})
    trained = train_community("europe", survey(), base, tmp_path, activated, Silent())
    reached = min(point.held_out for point in trained.fit.curve)
    assert reached < trained.fit.curve[0].held_out - 0.1
    assert "| activated | True |" in trained.card.read_text()
    encoder = VoteEncoder(base.gguf)
    prompt, invocation = encoder.tokens("Is it so?", ["Yes", "No", "Never"], "People"), encoder.invocation()
    encoder.close()
    engine = Engine(EngineSettings(base.gguf, context=512, adapters=(trained.adapter,)))
    assert engine.model.bare_length(Adapter(trained.adapter), prompt) == len(prompt) - len(invocation)
    engine.close()
    few = activated.model_copy(update={"steps": 2})
    begun = base.model_copy(update={"start": trained.adapter})
    towns = train_community("towns", survey(), begun, tmp_path, few, Silent())
    assert towns.fit.curve[0].held_out == pytest.approx(reached, abs=1e-4)
    plain = base.model_copy(update={"start": whole.adapter})
    with pytest.raises(AdapterError, match="is a plain adapter, and an activated adapter of this base was asked for"):
        train_community("cities", survey(), plain, tmp_path, few, Silent())
    texts = Data([Row({"text": f"Text {number} of letters."}, f"row {number}") for number in range(30)], ["a.txt"])
    with pytest.raises(TrainingDataError, match="which texts do not have"):
        check_training("letters", texts, base, few)


def test_a_stopped_training_goes_on_exactly_where_it_was(whole: Trained, base: Base, tmp_path: Path) -> None:
    watched = Silent()

    def stop_after(steps: int) -> Callable[[], bool]:
        return lambda: watched.steps == steps

    for steps in (8, 13):
        with pytest.raises(KeyboardInterrupt):
            train_community("europe", survey(), base, tmp_path, SETTINGS, watched, stop=stop_after(steps))
        assert [path.name for path in tmp_path.iterdir()] == [".europe.training"]
    other = SETTINGS.model_copy(update={"seed": 1})
    with pytest.raises(TrainingError, match="--restart"):
        train_community("europe", survey(), base, tmp_path, other, Silent())
    resumed = train_community("europe", survey(), base, tmp_path, SETTINGS, watched)
    assert watched.began == [0, 8, 13]
    assert watched.steps == SETTINGS.steps
    assert [point.held_out for point in resumed.fit.curve] == [point.held_out for point in whole.fit.curve]
    one, other_one = tensors(whole.adapter), tensors(resumed.adapter)
    assert all(np.array_equal(one[name], other_one[name]) for name in one)


def test_what_has_been_trained_is_not_trained_again(whole: Trained, base: Base, tmp_path: Path) -> None:
    shutil.copytree(whole.adapter.parent, tmp_path, dirs_exist_ok=True)
    watched = Silent()
    known = train_community("europe", survey(), base, tmp_path, SETTINGS, watched)
    assert watched.began == []
    assert known.fit == whole.fit
    assert known.figures == whole.figures
    fewer = SETTINGS.model_copy(update={"steps": 1})
    assert train_community("europe", survey(), base, tmp_path, fewer, watched).fit.steps == 1
    assert train_community("europe", survey(), base, tmp_path, fewer, watched, restart=True).fit.steps == 1
    (tmp_path / "europe.svg").unlink()
    assert train_community("europe", survey(), base, tmp_path, fewer, watched).fit.steps == 1
    assert watched.began == [0, 0, 0]
    assert train_community("europe", survey(), base, tmp_path, fewer, watched).known
    (tmp_path / "europe.gguf").write_bytes(b"of somebody else")
    assert not train_community("europe", survey(), base, tmp_path, fewer, watched).known


def test_a_licence_given_later_is_told_by_the_card_without_a_new_training(
    whole: Trained, base: Base, tmp_path: Path
) -> None:
    shutil.copytree(whole.adapter.parent, tmp_path, dirs_exist_ok=True)
    card = whole.card.read_text()
    none_given, other = (Data(survey().rows, ["survey.json"], license=each) for each in (None, "CC-BY-4.0"))
    assert train_community("europe", none_given, base, tmp_path, SETTINGS, Silent()).known
    assert (tmp_path / "europe.md").read_text() == card
    assert train_community("europe", other, base, tmp_path, SETTINGS, Silent()).known
    assert (tmp_path / "europe.md").read_text() == card.replace("CC0-1.0", "CC-BY-4.0")
    assert json.loads((tmp_path / "europe.json").read_text())["license"] == "CC-BY-4.0"


def test_texts_of_others_are_text_in_a_card(whole: Trained) -> None:
    results = TrainingResults.model_validate_json(whole.results.read_text())
    hostile = "![x](http://evil) <script>`\n\n# Approved | \x1b[31m"
    card = card_text(
        results.model_copy(update={"license": hostile, "base": hostile, "start": hostile, "conditions": [hostile]})
    )
    assert "\x1b" not in card
    assert "\n# Approved" not in card
    shown = re.sub(r"`[^`\n]*`", "", card.partition("# Community LM")[2])  # what is code is text
    assert r"\<script\>" in shown
    assert not re.search(r"(?<!\\)<script|(?<!\\)\]\(", shown)


def test_a_training_begins_with_the_weights_of_another(whole: Trained, base: Base, tmp_path: Path) -> None:
    begun = base.model_copy(update={"start": whole.adapter})
    few = SETTINGS.model_copy(update={"steps": 2, "check_every": 1})
    trained = train_community("towns", survey(), begun, tmp_path, few, Silent())
    (reached,) = (point.held_out for point in whole.fit.curve if point.step == whole.fit.best_step)
    assert trained.fit.curve[0].held_out == pytest.approx(reached, abs=1e-4)
    assert abs(trained.fit.curve[0].held_out - whole.fit.curve[0].held_out) > 0.1
    assert "began with the adapter `europe`" in trained.card.read_text()
    assert train_community("towns", survey(), begun, tmp_path, few, Silent()).known
    assert not train_community("towns", survey(), base, tmp_path, few, Silent()).known


def test_a_training_cannot_begin_with_what_does_not_fit(whole: Trained, base: Base, tmp_path: Path) -> None:
    def refusal(start: Path, rank: int = SETTINGS.rank) -> str:
        other = SETTINGS.model_copy(update={"rank": rank})
        with pytest.raises((AdapterError, ModelLoadError)) as caught:
            train_community(
                "towns", survey(), base.model_copy(update={"start": start}), tmp_path / "out", other, Silent()
            )
        assert not list((tmp_path / "out").glob("*"))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "There is no file" in refusal(tmp_path / "gone.gguf")
    assert "cannot be read as a GGUF adapter" in refusal(base.gguf)
    assert "has the rank 4, and 8 was asked for; train with --rank 4" in refusal(whole.adapter, rank=8)
    wide = Base(gguf=write_tiny(tmp_path / "wide.gguf", hidden=128), source="wide.gguf", context=512)
    once = SETTINGS.model_copy(update={"steps": 1})
    other = train_community("wide", survey(), wide, tmp_path / "wide", once, Silent())
    assert "made for another base than tiny.gguf" in refusal(other.adapter)


def test_a_training_begun_anew_and_stopped_goes_on_and_is_not_taken_for_the_one_before(
    whole: Trained, base: Base, tmp_path: Path
) -> None:
    shutil.copytree(whole.adapter.parent, tmp_path, dirs_exist_ok=True)
    watched = Silent()
    with pytest.raises(KeyboardInterrupt):
        train_community(
            "europe", survey(), base, tmp_path, SETTINGS, watched, restart=True, stop=lambda: watched.steps == 8
        )
    assert not train_community("europe", survey(), base, tmp_path, SETTINGS, watched).known
    assert watched.began == [0, 8]


def test_leftovers_of_a_killed_run_are_removed(base: Base, tmp_path: Path) -> None:
    (tmp_path / ".europe.0badcafe.part").mkdir(parents=True)
    fewer = SETTINGS.model_copy(update={"steps": 1})
    train_community("europe", survey(), base, tmp_path, fewer, Silent())
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".gguf", ".json", ".md", ".svg"]


def test_a_card_tells_how_little_is_behind_its_figures_and_that_nothing_was_learnt(base: Base, tmp_path: Path) -> None:
    # With such a rate nothing moves.
    settings = SETTINGS.model_copy(update={"steps": 2, "rate": 1e-30})
    trained = train_community("europe", survey(), base, tmp_path, settings, Silent())
    assert trained.fit.best_step == 0
    change = trained.figures[CHANGE]
    assert change.value == 0
    assert not change.clear
    card = trained.card.read_text()
    assert "the adapter changes nothing" in card
    assert "There are 3 distinct questions behind these figures; with fewer than 20" in card
    assert json.loads(trained.results.read_text())["distinct"] == {"count": 3, "what": "questions"}


@pytest.mark.parametrize("where", ["loading", "a step"])
def test_too_little_memory_is_told_as_such(
    where: str, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    if where == "loading":
        monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", lacks)
    else:
        monkeypatch.setattr(SurveyObjective, "loss", lacks)
    with pytest.raises(TrainingError, match=r"does not fit into memory|memory does not suffice"):
        train_community("europe", survey(), base, tmp_path, SETTINGS, Silent())


@pytest.mark.parametrize(
    ("items", "given", "steps"),
    [
        (400, {}, 200),  # two passes
        (100, {}, 120),  # few data more often
        (12, {}, 30),  # and at most ten times
        (10_000, {}, 400),
        (10_000, {"steps": 900}, 900),
        (10_000, {"epochs": 1}, 2500),
        (100, {"epochs": 3, "steps": 10}, 10),
    ],
)
def test_how_long_a_training_is(items: int, given: dict[str, Any], steps: int) -> None:
    assert steps_of(items, TrainingSettings(batch=4, **given)) == steps


@pytest.mark.parametrize("attribute", [None, "Spain"])
def test_a_question_is_learnt_in_the_tokens_in_which_the_engine_reads_it(base: Base, attribute: str | None) -> None:
    options, prompts = ["Yes", "No"], PromptSet.load()
    known = {"question": quoted("Is tea\ngood?"), "options": option_lines(prompts, options)}
    prompt = (
        prompts["vote"].render(**known)
        if attribute is None
        else prompts["vote_group"].render(**known, attribute=attribute)
    )
    chat = ChatLlama(gguf=base.gguf, context=512)
    encoder = VoteEncoder(base.gguf)
    try:
        assert encoder.tokens("Is tea\ngood?", options, attribute) == chat.prompt_tokens(prompt)
    finally:
        encoder.close()
        chat.engine.close()


def test_texts_are_learnt_packed(base: Base, tmp_path: Path) -> None:
    rows = [{"text": f"The cat {number} sat on the mat and was glad. " * 4} for number in range(24)]
    data = Data([Row(row, f"row {number}") for number, row in enumerate(rows)], ["cats.txt"])
    settings = SETTINGS.model_copy(update={"block": 32, "batch": 4, "steps": 20})
    trained = train_community("cats", data, base, tmp_path, settings, Silent())
    after, before = (trained.figures[name].value for name in ("with the adapter", "without it"))
    assert after is not None
    assert before is not None
    assert after < before - 0.5
    assert "perplexity" in trained.card.read_text()


def test_what_cannot_be_trained_is_refused_and_leaves_nothing(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusal(kind: type[Exception], data: Data | None = None, out: Path = tmp_path, name: str = "europe") -> str:
        with pytest.raises(kind) as caught:
            train_community(name, data or survey(), base, out, SETTINGS, Silent())
        assert not list(tmp_path.glob(".*"))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "usable name" in refusal(TrainingDataError, name="../europe")
    few = Data(survey().rows[:6], ["few.json"])
    assert "only 3 questions" in refusal(TrainingDataError, few)
    long = survey(question="Why? " * 600)
    assert "only one" in refusal(TrainingDataError, long)
    rows = [Row(row | {"question": f"{'Why? ' * 600} {n}"}, "row") for n, row in enumerate(survey_rows())]
    assert "the model reads 512" in refusal(TrainingError, Data(rows, ["long.json"]))
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refusal(TrainingError, out=tmp_path / "file")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))
    assert "make room" in refusal(TrainingError)


def test_a_full_disk_at_the_end_leaves_the_checkpoint(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    settings = SETTINGS.model_copy(update={"steps": 2})
    monkeypatch.setattr("modular_pluralism.training.train.write_gguf_adapter", full)
    with pytest.raises(TrainingError, match="make room"):
        train_community("europe", survey(), base, tmp_path, settings, Silent())
    assert [path.name for path in tmp_path.iterdir()] == [".europe.training"]
    monkeypatch.undo()
    watched = Silent()
    assert train_community("europe", survey(), base, tmp_path, settings, watched).adapter.is_file()
    assert watched.began == [2]


def test_a_checkpoint_that_cannot_be_read_is_named(base: Base, tmp_path: Path) -> None:
    (tmp_path / ".europe.training").mkdir()
    (tmp_path / ".europe.training" / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt cannot be read"):
        train_community("europe", survey(), base, tmp_path, SETTINGS, Silent())


def test_a_base_without_a_letter_as_one_token_is_refused(base: Base) -> None:
    encoder = VoteEncoder(base.gguf)
    try:
        real = encoder.model.tokenize

        def in_two(text: str, **settings: Any) -> list[int]:
            return [1, 2] if text.strip() == "B" else real(text, **settings)

        encoder.model.tokenize = in_two  # type: ignore[method-assign]
        assert len(encoder.letter_tokens(1)) == 1
        with pytest.raises(TrainingError, match="The letter B is no single token"):
            encoder.letter_tokens(2)
    finally:
        encoder.close()
