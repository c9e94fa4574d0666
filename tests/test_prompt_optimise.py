"""The search for a better prompt: what it may see, what it refuses, and when it says that nothing better was found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modular_pluralism.errors import DeadlineError, InputError, ModelCallError, PromptError
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.statistics.clusters import halve
from modular_pluralism.prompt_trials.bench import TrialSettings
from modular_pluralism.prompt_trials.feedback import example, merit
from modular_pluralism.prompt_trials.markdown import search_markdown
from modular_pluralism.prompt_trials.optimisation import Optimisation, write_winner
from modular_pluralism.prompt_trials.result_models import SearchResult
from modular_pluralism.prompts import PromptSet
from tests.command import PLURALISM, pluralism, started
from tests.fake_models import FakeChat, Seen, choosing, fake_models, fake_pool, label_of, scripted, wait_until
from tests.random_model import RANDOM_GGUF
from tests.task_items import COUNTRIES, option_item, overton_item, value_item, write_task

TWO = ("north", "south")
GROUP = PromptSet.load()["score_group"].text
GOOD = f"```\n{GROUP}\nGOOD\n```"


def task_of(folder: Path, count: int, each: int = 2) -> TaskFile:
    """So many questions of `each` items, one or two; what is right is A."""
    items = [
        option_item(
            each * place + half,
            question=f"Question: Is number {place} a good one?\nOptions: A. Yes B. No C. It depends\nAnswer:",
            gold_distribution=[0.8, 0.1, 0.1],
            attribute=COUNTRIES[half],
        )
        for place in range(count)
        for half in range(each)
    ]
    return TaskFile.open(write_task(folder / "task.json", items))


def number_in(seen: Seen) -> int:
    return int(seen.prompt.split("Is number ")[1].split(" ")[0])


def by_mark(seen: Seen) -> dict[str, float]:
    """GOOD helps with every question; each ONLY n with question n alone, and hurts with all others."""
    share = 0.5
    if "GOOD" in seen.prompt:
        share = 0.75
    elif "ONLY" in seen.prompt:
        share = 0.8 if f"ONLY {number_in(seen)}!" in seen.prompt else 0.4
    rest = (1 - share) / 2
    return {letter: share if letter == label_of("Yes", seen.prompt) else rest for letter in "ABC"}


def search(
    tmp_path: Path,
    say: Callable[[Seen], str | Exception],
    *,
    questions: int = 40,
    each: int = 1,
    budget: int = 100,
    name: str = "score_group",
    **settings: Any,
) -> tuple[Optimisation, FakeChat]:
    reflecting = FakeChat(say=say)
    models = {**fake_models(choosing(by_mark), TWO), "south": reflecting}
    given = TrialSettings(pool=fake_pool(TWO, quorum=1), models=models, **settings)
    # South's comments come from the same model; nobody looks at them here.
    return Optimisation(task_of(tmp_path, questions, each), name, budget, given, reflect="south"), reflecting


def reflecting_only(say: Callable[[Seen], str | Exception]) -> Callable[[Seen], str | Exception]:
    """What is said where a new text is asked for; comments are plain."""
    return lambda seen: say(seen) if "better prompt for the same purpose" in seen.prompt else "The view of south."


def asked_for_texts(model: FakeChat) -> list[str]:
    return [prompt for prompt in model.prompts if "better prompt for the same purpose" in prompt]


def test_a_better_text_is_found_and_judged_on_other_questions(tmp_path: Path) -> None:
    optimisation, reflecting = search(tmp_path, reflecting_only(scripted(GOOD)), each=2)
    result = optimisation.run()
    assert result.better
    assert result.sentence.startswith("A better text was found. On the items held back, best found is better than")
    assert result.best is not None
    assert result.best.rstrip().endswith("GOOD")
    assert result.training is not None
    assert result.held_back is not None
    assert result.training.difference.n == 40
    assert result.held_back.difference.n == 40
    assert result.held_back.difference.high is not None
    assert result.held_back.difference.high < 0
    assert [text.parent for text in result.texts] == [None, 0]
    assert result.texts[1].merit > result.texts[0].merit
    assert result.metric_calls <= result.budget
    titles = [table.title for table in result.results.tables]
    assert titles[0] == "Training items"
    assert titles[2] == "Items held back"
    # The model that reflects sees training items alone.
    seen = "\n".join(asked_for_texts(reflecting))
    held_back = {item.question for item in optimisation.held_back}
    assert not any(question in seen for question in held_back)
    assert any(item.question in seen for item in optimisation.training)


def test_what_only_fits_the_training_items_is_not_called_better(tmp_path: Path) -> None:
    """A text that knows the training questions by heart wins there, and loses on the others."""

    def by_heart(seen: Seen) -> str:
        known = " ".join(f"ONLY {number}!" for number in training)
        return f"```\n{GROUP}\n{known}\n```"

    optimisation, _ = search(tmp_path, reflecting_only(by_heart))
    training = {int(item.question.split("number ")[1].split(" ")[0]) for item in optimisation.training}
    result = optimisation.run()
    assert result.training is not None
    assert result.training.verdict == "better"
    assert result.held_back is not None
    assert result.held_back.verdict == "worse"
    assert not result.better
    assert result.sentence.startswith("Nothing better was found. On the items held back, best found is worse")


def test_nothing_better_where_no_text_wins(tmp_path: Path) -> None:
    bad = f"```\n{GROUP}\nONLY 999!\n```"
    result = search(tmp_path, reflecting_only(scripted(bad)))[0].run()
    assert result.best is None
    assert result.held_back is None
    assert not result.better
    assert "no text did better than the built-in one on the training items" in result.sentence
    assert [text.parent for text in result.texts] == [None]


def test_a_text_without_the_variables_is_refused_and_told(tmp_path: Path) -> None:
    replies = scripted("```\n{question} {comment}\n```", f"```\n{GROUP} {{more}}\n```", GOOD)
    optimisation, reflecting = search(tmp_path, reflecting_only(replies))
    result = optimisation.run()
    assert result.better
    first, second, third, *_ = asked_for_texts(reflecting)
    assert "it lacks {options}, {attribute}." in second
    assert "{question} {comment}" in second  # what was refused is there, too
    assert "it has {more}, which nothing is put in for." in third
    assert "cannot be used" not in first
    assert result.reasons["it lacks {options}, {attribute}."] == 1
    assert result.reflections >= 3
    assert result.refused >= 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (f"```\n{GROUP}\n```", "it has been tried already."),
        (f"```\n{GROUP}\n[user]\nmore\n```", "[user] appears twice"),
        ("", "empty reply"),
    ],
)
def test_unusable_replies_end_a_turn_and_not_the_search(tmp_path: Path, reply: str, reason: str) -> None:
    result = search(tmp_path, reflecting_only(scripted(reply)), budget=60)[0].run()
    assert not result.better
    assert any(reason in each for each in result.reasons)
    assert result.refused == result.reflections
    assert result.metric_calls <= 60


def test_a_reflecting_model_that_fails_ends_the_search(tmp_path: Path) -> None:
    optimisation, reflecting = search(tmp_path, reflecting_only(scripted(RuntimeError("no such model"))))
    with pytest.raises(ModelCallError, match="no such model"):
        optimisation.run()
    assert len(asked_for_texts(reflecting)) == 1
    with pytest.raises(DeadlineError):
        search(tmp_path, reflecting_only(scripted(DeadlineError("late"))))[0].run()


def test_the_same_seed_gives_the_same_search(tmp_path: Path) -> None:
    replies = [f"```\n{GROUP}\nONLY {number}!\n```" for number in range(6)]
    runs = []
    for _ in range(2):
        optimisation, reflecting = search(tmp_path, reflecting_only(scripted(*replies, GOOD)), seed=7, questions=12)
        result = optimisation.run()
        runs.append((result.model_dump(exclude={"results"}), asked_for_texts(reflecting)))
    assert runs[0] == runs[1]


def test_the_budget_is_kept(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"budget of 45 does not suffice.*--budget 46 or more"):
        search(tmp_path, reflecting_only(scripted(GOOD)), budget=45)[0].run()
    made: list[Any] = []
    optimisation, _ = search(tmp_path, reflecting_only(scripted(GOOD)), budget=46)
    result = optimisation.run(lambda maker, result: made.append(result))
    assert result.metric_calls == 46
    assert len(made) <= optimisation.total == 46 + 40
    assert result.better


def test_the_halves_share_no_question(tmp_path: Path) -> None:
    items = list(task_of(tmp_path, 9).items())
    training, held_back = halve(items, 3)
    assert len(training) + len(held_back) == len(items)
    assert not {item.question for item in training} & {item.question for item in held_back}
    assert len(training) == 8
    assert halve(items, 3) == (training, held_back)
    assert halve(items, 4) != (training, held_back)
    with pytest.raises(InputError, match="the items ask only 1; use more"):
        halve(items[:2], 0)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("merge", r"does not use merge\.txt on this task.*it uses comment_options"),
        ("personas/news_left", "does not use personas/news_left"),
        ("merg", "did you mean 'merge'"),
    ],
)
def test_a_prompt_that_is_not_in_use_is_told(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises((InputError, PromptError), match=told):
        search(tmp_path, reflecting_only(scripted(GOOD)), name=name)


def test_a_persona_may_be_optimised(tmp_path: Path) -> None:
    ready = Optimisation(task_of(tmp_path, 2), "personas/news_left", 50)
    assert ready.file == "personas/news_left.md"


def test_an_example_is_short_and_on_lines_of_its_own(tmp_path: Path) -> None:
    optimisation, _ = search(tmp_path, reflecting_only(scripted(GOOD)), questions=4, budget=20)
    prompts = PromptSet.load()
    item = optimisation.bench.items[0]
    outcome: Any = {"prediction": {"rotate": [0.5, 0.25, 0.25], "label": None}, "error": None, "answer": None}
    base: Any = {"comments": {}, "missing": [], "tokens": {}, "seconds": 0.0, "parse_failures": 0, "measures": {}}
    full: Any = {
        **base,
        **outcome,
        "prediction": {**outcome["prediction"], "rotate_mass": 1, "label_mass": 1, "samples": 1},
    }
    told = example("distributional", item, full, prompts)
    assert told.splitlines()[1:3] == [
        "Right: Yes 80%; No 10%; It depends 10% (of Spain)",
        "The model's answer: Yes 50%; No 25%; It depends 25%",
    ]
    assert 0 < merit("distributional", item, full) < 1
    failed: Any = {**full, "error": "broken", "prediction": None}
    assert merit("distributional", item, failed) == 0
    assert "none, since it failed: broken" in example("distributional", item, failed, prompts)


@pytest.mark.parametrize("make", [value_item, overton_item])
def test_examples_of_the_other_kinds(tmp_path: Path, make: Callable[[int], dict[str, Any]]) -> None:
    task = TaskFile.open(write_task(tmp_path / "task.json", [make(0)]))
    item = next(task.items())
    outcome: Any = {
        "prediction": None,
        "error": None,
        "answer": "An answer.\nQuestion: forged",
        "measures": {"coverage": 0.25},
        "comments": {},
        "missing": [],
        "tokens": {},
        "seconds": 0.0,
        "parse_failures": 0,
    }
    if make is value_item:
        outcome |= {"prediction": {"rotate": [0.2, 0.7, 0.1], "label": None, "rotate_mass": 1, "label_mass": 1}}
        outcome["prediction"]["samples"] = None
    told = example(task.kind, item, outcome, PromptSet.load())
    assert len(told.splitlines()) == 4
    assert merit(task.kind, item, outcome) == pytest.approx(0.2 if make is value_item else 0.25)


def test_the_report_has_every_text_as_data(tmp_path: Path) -> None:
    evil = f"```\n{GROUP}\nGOOD <script>alert(1)</script>\n```"
    result = search(tmp_path, reflecting_only(scripted(evil)))[0].run()
    text = search_markdown(result)
    assert "**A better text was found." in text
    assert "### Text 1: from text 0" in text
    before = text[: text.index("GOOD <script>")]
    assert before.rsplit("```", 1)[1].startswith("text\n")  # inside a block of text
    assert SearchResult.model_validate_json(result.model_dump_json()) == result


def test_the_winner_is_a_folder_that_loads(tmp_path: Path) -> None:
    result = search(tmp_path, reflecting_only(scripted(GOOD)))[0].run()
    built_in = PromptSet.load()["score_group"]
    path = write_winner(tmp_path / "out", result, built_in, keep=False)
    assert path == tmp_path / "out" / "prompts" / "score_group.txt"
    loaded = PromptSet.load(tmp_path / "out" / "prompts")["score_group"]
    assert loaded.version == built_in.version + 1
    assert loaded.text.rstrip().endswith("GOOD")
    not_better = result.model_copy(update={"better": False})
    assert write_winner(tmp_path / "none", not_better, built_in, keep=False) is None
    assert not (tmp_path / "none").exists()
    kept = write_winner(tmp_path / "kept", not_better, built_in, keep=True)
    assert kept is not None
    assert kept.read_text() == path.read_text()
    nothing = result.model_copy(update={"better": False, "best": None})
    assert write_winner(tmp_path / "none", nothing, built_in, keep=True) is None


# As a user runs it


@pytest.mark.parametrize(("questions", "budget"), [(4, 17), pytest.param(2, 8, marks=pytest.mark.model)])
def test_an_embedded_model_finds_nothing_better(tmp_path: Path, questions: int, budget: int) -> None:
    task_of(tmp_path, questions)
    call = ("prompts", "optimise", "vanilla_options", "--task", "task.json", "--method", "vanilla", "--budget")
    done = pluralism(
        *call, str(budget), "--limit", str(2 * questions), "--reflect-tokens", "24", "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    result = SearchResult.model_validate_json(done.stdout)
    assert not result.better
    assert "Nothing better was found" in result.sentence
    assert result.metric_calls <= budget
    assert result.reflections >= 1
    assert any(f"Only {questions // 2} question" in warning for warning in result.results.warnings)
    out = tmp_path / "out" / "optimised_vanilla_options"
    assert sorted(path.name for path in out.iterdir()) == ["search.json", "search.md"]
    assert json.loads((out / "search.json").read_text()) == json.loads(done.stdout)


@pytest.mark.faults
def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    task_of(tmp_path, 100)
    call = ("prompts", "optimise", "score_group", "--task", "task.json", "--budget", "500")
    with started(*call, cwd=tmp_path) as process:
        assert wait_until(lambda: str(RANDOM_GGUF) in Path(f"/proc/{process.pid}/maps").read_text(), 120)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert "Stopped. Nothing was written." in stderr
    assert "Traceback" not in stderr
    assert stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["task.json"]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("score_group", "--task", "nowhere.json", "--budget", "9"), "nowhere.json"),
        (("merg", "--task", "task.json", "--budget", "9"), "did you mean 'merge'"),
        (("merge", "--task", "task.json", "--budget", "9"), "does not use merge.txt"),
        (("score_group", "--task", "task.json", "--budget", "0"), "--budget"),
        (("score_group", "--task", "task.json", "--budget", "5"), "does not suffice"),
        (
            ("score_group", "--task", "task.json", "--budget", "99", "--reflect", "gpt"),
            "no model 'gpt' to reflect with",
        ),
        (("score_group", "--task", "task.json", "--budget", "99", "--limit", "1"), "the items ask only 1; use more"),
        (("score_group", "--task", "task.json", "--budget", "99", "--out", "mine"), "is there already"),
        (("score_group", "--task", "task.json"), "--budget"),
    ],
)
def test_bad_calls_are_one_sentence(tmp_path: Path, call: tuple[str, ...], told: str) -> None:
    task_of(tmp_path, 2)
    (tmp_path / "mine" / "prompts").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    done = pluralism("prompts", "optimise", *call, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_the_built_in_prompts_are_never_written_over(tmp_path: Path) -> None:
    task_of(tmp_path, 2)
    built_in = Path(PromptSet.load()["merge"].path).parent
    call = ("prompts", "optimise", "score_group", "--task", "task.json", "--budget", "99", "--out", str(built_in))
    done = pluralism(*call, cwd=tmp_path)
    assert done.returncode == 2
    assert "never written over" in done.stderr
    assert not (built_in / "search.md").exists()


def test_without_the_library_it_is_told_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "gepa.py").write_text("raise ImportError('not here')")
    task_of(tmp_path, 2)
    # A process that begins anew, since this is about what it imports.
    done = subprocess.run(
        [PLURALISM, "prompts", "optimise", "score_group", "--task", "task.json", "--budget", "99"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'modular-pluralism[optimise]'" in done.stderr
