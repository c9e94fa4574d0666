"""Summaries: tables with intervals, what is left after rotation, failures, examples, and filled-in files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.filled_file import write_filled
from modular_pluralism.evaluation.data.items import ItemId
from modular_pluralism.evaluation.data.outcome import Outcome, Prediction, empty_outcome
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.statistics.results import Results, Row, Table
from modular_pluralism.evaluation.statistics.summary import summarise
from tests.scipy_distance import jensenshannon

FARTHEST = math.sqrt(math.log(2))


def outcome(id: ItemId, method: str = "m", **known: Any) -> Outcome:
    cost = {"seconds": 2.0, "tokens": {"read": 10, "generated": 4}}
    return {**empty_outcome(id, method), **cost, **known}  # type: ignore[typeddict-item]


def predicted(id: ItemId, rotate: list[float], label: list[float] | None = None) -> Outcome:
    mass = None if label is None else 0.5
    return outcome(
        id,
        prediction=Prediction(
            rotate=rotate, label=label, rotate_mass=0.9 if label else None, label_mass=mass, samples=None
        ),
    )


def failed(id: ItemId) -> Outcome:
    return outcome(id, error="the model has gone")


def option_file(
    folder: Path,
    golds: Sequence[list[float]],
    attribute: Callable[[int], str] = lambda n: "Kenya",
    question: Callable[[int], str] = lambda n: f"Tea number {n}?",
) -> Path:
    path = folder / "task.json"
    items = [
        {
            "id": n,
            "question": question(n),
            "options": [f"option {place}" for place in range(len(gold))],
            "attribute": attribute(n),
            "gold_distribution": gold,
            "pred_distribution": None,
            "mine": "kept",
        }
        for n, gold in enumerate(golds)
    ]
    path.write_text(json.dumps(items))
    return path


def value_file(folder: Path, labels: str) -> Path:
    path = folder / "task.json"
    one = {"vrd": "Duty to care", "input": "lying?", "output": None}
    path.write_text(
        json.dumps([{**one, "id": n, "situation": f"lie {n}", "label": label} for n, label in enumerate(labels)])
    )
    return path


def overton_file(folder: Path, count: int) -> Path:
    path = folder / "task.json"
    one = {"vrd": ["v", "w"], "explanation": ["e", "f"], "input": "lying?", "output": None}
    path.write_text(json.dumps([{**one, "id": n, "situation": f"lie {n}"} for n in range(count)]))
    return path


def results(path: Path, by_method: dict[str, list[Outcome]], **further: Any) -> Results:
    task = TaskFile.open(path)

    def outcomes(method: str) -> Iterator[Outcome]:
        return iter(by_method[method])

    settings = {"title": "t", "run": {}, "seed": 3, "resamples": 200, **further}
    return summarise(task, task.items, outcomes, list(by_method), **settings)


def table(found: Results, name: str) -> Table:
    return next(each for each in found.tables if each.name == name)


def row(found: Table, name: str, group: str | None = None) -> Row:
    return next(each for each in found.rows if (each.name, each.group) == (name, group))


GOLDS = [[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.6, 0.4]]


def test_figures_of_a_distributional_file(tmp_path: Path) -> None:
    shares = [[0.7, 0.3], [0.6, 0.4], [0.1, 0.9]]
    labels = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    outcomes = [predicted(n, shares[n], labels[n]) for n in range(3)] + [failed(3)]
    found = results(option_file(tmp_path, GOLDS), {"vanilla": outcomes})
    cells = row(table(found, "overall"), "vanilla").cells
    distances = [float(jensenshannon(GOLDS[n], shares[n])) for n in range(3)]
    assert cells["js"].value == pytest.approx(sum(distances) / 3, abs=1e-12)
    assert cells["js"].n == 3
    assert cells["js_worst"].value == pytest.approx((sum(distances) + FARTHEST) / 4, abs=1e-12)
    by_label = [float(jensenshannon(GOLDS[n], labels[n])) for n in range(3)]
    assert cells["js_label"].value == pytest.approx(sum(by_label) / 3, abs=1e-12)
    assert (cells["agree"].value, cells["agree"].n) == (0.25, 4)  # the first; the even split is A's, and one failed
    assert cells["agree_any"].value == 0.5
    assert (cells["mass"].value, cells["mass_label"].value) == (0.9, 0.5)
    assert (cells["failed"].value, found.failed) == (1, 1)
    js = cells["js"]
    assert js.low is not None
    assert js.value is not None
    assert js.high is not None
    assert min(distances) <= js.low <= js.value <= js.high <= max(distances)
    assert found.failures[0].error == "the model has gone"
    assert any("1 of vanilla" in warning for warning in found.warnings)
    costs = row(table(found, "counts"), "vanilla").cells
    assert (costs["tokens_read"].value, costs["seconds"].value, costs["items"].value) == (10, 2, 4)


def test_tokens_are_those_of_texts_and_shown_only_where_one_was_written(tmp_path: Path) -> None:
    path = option_file(tmp_path, GOLDS)

    def token_columns(written: int) -> list[str]:
        tokens = {"prompt": written * 9, "cached": 0, "generated": written}
        silent = [{**predicted(n, [0.5, 0.5]), "tokens": dict.fromkeys(tokens, 0)} for n in range(4)]
        talking = [{**predicted(n, [0.5, 0.5]), "tokens": tokens} for n in range(4)]
        found = table(results(path, {"vanilla": silent, "modular": talking}), "counts")  # type: ignore[dict-item]
        assert all("comments and answers" in each.help for each in found.columns if "token" in each.title)
        return [each.title for each in found.columns if "token" in each.title]

    assert token_columns(12) == ["tokens of texts, cached", "tokens of texts, generated", "tokens of texts, prompt"]
    assert token_columns(0) == []


def test_baselines_stand_beside_the_methods(tmp_path: Path) -> None:
    found = results(option_file(tmp_path, GOLDS), {"vanilla": [predicted(n, [0.5, 0.5]) for n in range(4)]})
    rows = table(found, "overall").rows
    assert [(each.name, each.baseline) for each in rows] == [
        ("vanilla", False),
        ("uniform", True),
        ("majority", True),
        ("mean", True),
    ]
    assert rows[0].cells["js"] == rows[1].cells["js"]
    means = [np.mean([other for other in GOLDS if other is not gold], axis=0) for gold in GOLDS]
    plain = [float(jensenshannon(gold, mean)) for gold, mean in zip(GOLDS, means, strict=True)]
    assert rows[3].cells["js"].value == pytest.approx(sum(plain) / 4)
    assert "js_label" not in {column.key for column in table(found, "overall").columns}
    assert "failed" not in {column.key for column in table(found, "overall").columns}
    assert any("An even split over the options knows nothing" in warning for warning in found.warnings)


def test_baselines_are_not_wrong_everywhere_in_a_tie(tmp_path: Path) -> None:
    golds = [[1.0, 0.0] if n % 2 else [0.0, 1.0] for n in range(40)]
    found = results(option_file(tmp_path, golds), {"m": [predicted(n, [0.6, 0.4]) for n in range(40)]})
    for name in ("uniform", "majority", "mean"):
        assert row(table(found, "overall"), name).cells["agree"].value == 0.5
    assert row(table(found, "overall"), "mean").cells["js"].value == pytest.approx(
        float(jensenshannon([20 / 39, 19 / 39], [0.0, 1.0])), abs=1e-9
    )
    assert "conservative for the methods" in table(found, "overall").note


def test_differences_are_of_pairs_against_our_method(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    golds = [[float(share), 1 - float(share)] for share in random.uniform(0.7, 1, 40)]
    near = [predicted(n, [0.75, 0.25]) for n in range(40)]
    far = [predicted(n, [0.4, 0.6]) for n in range(39)] + [failed(39)]
    found = table(results(option_file(tmp_path, golds), {"vanilla": far, "modular": near}), "differences")
    assert [each.name for each in found.rows] == [
        "modular − vanilla",
        "modular − uniform",
        "modular − majority",
        "modular − mean",
    ]
    figure = row(found, "modular − vanilla").cells["js"]
    plain = [float(jensenshannon(g, [0.75, 0.25]) - jensenshannon(g, [0.4, 0.6])) for g in golds[:39]]
    assert figure.value == pytest.approx(sum(plain) / 39, abs=1e-12)
    assert (figure.n, figure.clear) == (39, True)
    assert row(found, "modular − vanilla").cells["agree"].value == 1


def test_equal_methods_have_no_clear_difference(tmp_path: Path) -> None:
    same = [predicted(n, [0.7, 0.3]) for n in range(4)]
    cells = row(table(results(option_file(tmp_path, GOLDS), {"a": same, "b": same}), "differences"), "a − b").cells
    assert not any(each.clear for each in cells.values())
    assert (cells["js"].low, cells["js"].value, cells["js"].high) == (0, 0, 0)
    agree = cells["agree"]
    assert agree.value == 0
    assert agree.low is not None
    assert agree.high is not None
    assert agree.low < 0 < agree.high, "four equal choices do not say that no choice would differ"


@pytest.mark.parametrize("count", [6, 7])
def test_each_of_a_few_methods_is_compared_with_each(tmp_path: Path, count: int) -> None:
    names = ["vanilla", "prompting", "moe", "modular", "modular only one", "x", "y"][:count]
    methods = {name: [predicted(n, [0.3 + at / 10, 0.7 - at / 10]) for n in range(4)] for at, name in enumerate(names)}
    found = table(results(option_file(tmp_path, GOLDS), methods), "differences")
    pairs = [each.name for each in found.rows if not each.baseline]
    ours = [f"modular − {name}" for name in names if name != "modular"]
    assert pairs[: len(ours)] == ours
    if count > 6:
        assert pairs == ours
        return
    assert len(set(pairs)) == len(pairs) == 15
    assert {"prompting − vanilla", "moe − vanilla", "moe − prompting", "x − moe"} <= set(pairs)
    plain = [float(jensenshannon(g, [0.5, 0.5]) - jensenshannon(g, [0.3, 0.7])) for g in GOLDS]
    assert row(found, "moe − vanilla").cells["js"].value == pytest.approx(sum(plain) / 4)


def test_with_few_questions_nothing_is_bold(tmp_path: Path) -> None:
    def shown(count: int) -> Table:
        golds = [[0.7 + n / 100, 0.3 - n / 100] for n in range(count)]
        near, far = ([predicted(n, [share, 1 - share]) for n in range(count)] for share in (0.75, 0.2))
        return table(results(option_file(tmp_path, golds), {"vanilla": far, "modular": near}), "differences")

    for count, clear in ((19, False), (20, True)):
        cells = row(shown(count), "modular − vanilla").cells
        assert (cells["js"].clear, cells["agree"].clear) == (clear, clear)
        assert "fewer than 20" in shown(count).note


def test_what_is_left_after_rotation(tmp_path: Path) -> None:
    golds = [[0.5, 0.5] for _ in range(20)]
    vanilla = [predicted(n, [0.8, 0.2], [0.99, 0.01]) for n in range(20)]
    half = [predicted(n, [0.7, 0.3], [0.8, 0.2]) for n in range(20)]
    none = [predicted(n, [0.5, 0.5], [0.99, 0.01]) for n in range(20)]
    found = table(results(option_file(tmp_path, golds), {"vanilla": vanilla, "half": half, "none": none}), "rotation")

    def js(share: float) -> float:
        return float(jensenshannon([0.5, 0.5], [share, 1 - share]))

    cells = row(found, "half").cells
    assert cells["gain_label"].value == pytest.approx(js(0.99) - js(0.8))
    assert cells["gain"].value == pytest.approx(js(0.8) - js(0.7))
    assert cells["left"].value == pytest.approx((js(0.8) - js(0.7)) / (js(0.99) - js(0.8)))
    assert row(found, "none").cells["left"].value is None
    assert "For none, there is no gain to keep" in found.note


def test_intervals_are_those_of_the_questions(tmp_path: Path) -> None:
    """Twenty items with one question and one answer each say as much as one such item."""
    golds = [[share, 1 - share] for share in (0.5, 0.6, 0.7, 0.8, 0.9)]
    shares = [[0.7, 0.3], [0.8, 0.2]]
    by_method = {name: [predicted(n, shares[at]) for n in range(5)] for at, name in enumerate(("vanilla", "modular"))}
    once = results(option_file(tmp_path, golds), by_method)
    repeated = [gold for gold in golds for _ in range(20)]
    path = option_file(tmp_path, repeated, question=lambda n: f"Tea number {n // 20}?")
    by_method = {name: [predicted(n, shares[at]) for n in range(100)] for at, name in enumerate(("vanilla", "modular"))}
    often = results(path, by_method)
    assert (often.task["items"], often.task["questions"]) == (100, 5)
    assert "resample 5 distinct questions" in table(often, "overall").note
    for name, of in (("overall", "vanilla"), ("differences", "modular − vanilla")):
        one, many = (row(table(found, name), of).cells["js"] for found in (once, often))
        assert (one.low, one.value, one.high) == pytest.approx((many.low, many.value, many.high))
        assert one.low != one.high
        assert (one.n, many.n) == (5, 100)
    curves = [found.reliability["vanilla"] for found in (once, often)]
    assert [each.real.high for each in curves[0]] == pytest.approx([each.real.high for each in curves[1]])


def test_the_situation_is_the_question_of_an_item_by_value(tmp_path: Path) -> None:
    path = value_file(tmp_path, "ABC")
    items = json.loads(path.read_text())
    path.write_text(json.dumps([{**item, "situation": "lying", "input": f"lying {item['id']}?"} for item in items]))
    found = results(path, {"m": [predicted(n, [0.5, 0.3, 0.2]) for n in range(3)]})
    assert found.task["questions"] == 1
    assert "1 distinct situation," in table(found, "overall").note
    cells = row(table(found, "overall"), "m").cells
    assert (cells["accuracy"].low, cells["accuracy"].high) == (None, None)


def test_groups_are_measured_apart(tmp_path: Path) -> None:
    path = option_file(tmp_path, GOLDS, lambda n: "Kenya" if n < 3 else "Peru")
    found = results(path, {"vanilla": [predicted(n, [0.7, 0.3]) for n in range(4)]})
    kenya, peru = (row(table(found, "country"), "vanilla", name).cells["js"] for name in ("Kenya", "Peru"))
    assert kenya.n == 3
    assert kenya.value == pytest.approx(sum(float(jensenshannon(g, [0.7, 0.3])) for g in GOLDS[:3]) / 3)
    assert peru.value == pytest.approx(float(jensenshannon(GOLDS[3], [0.7, 0.3])))
    assert (peru.low, peru.high) == (None, None)
    assert {each.group for each in table(found, "continent").rows} == {"Africa", "South America"}


def test_patching_is_told_by_group(tmp_path: Path) -> None:
    """Peru's items get farther without one community, Kenya's stay as they are."""
    golds = [[0.8 + n / 400, 0.2 - n / 400] for n in range(60)]
    path = option_file(tmp_path, golds, lambda n: "Kenya" if n < 30 else "Peru")
    whole = [predicted(n, [0.7, 0.3]) for n in range(60)]
    without = [predicted(n, [0.7, 0.3] if n < 30 else [0.4, 0.6]) for n in range(60)]
    by_method = {"modular": whole, "modular without one": without, "modular only two": whole, "modularly": whole}
    found = results(path, by_method)
    patching = table(found, "patching_country")
    assert patching.chart == "js"
    assert {each.name for each in patching.rows} == {"modular without one − modular", "modular only two − modular"}
    plain = [float(jensenshannon(g, [0.4, 0.6]) - jensenshannon(g, [0.7, 0.3])) for g in golds[30:]]
    for group, value, n in (("Peru", sum(plain) / 30, 30), ("Kenya", 0, 30), (None, sum(plain) / 60, 60)):
        figure = row(patching, "modular without one − modular", group).cells["js"]
        assert figure.value == pytest.approx(value, abs=1e-12)
        assert (figure.n, figure.clear) == (n, value > 0)
    assert {each.group for each in table(found, "patching_continent").rows} == {None, "Africa", "South America"}
    assert not any(each.name.startswith("patching") for each in results(path, {"modular": whole, "m": whole}).tables)


def test_patching_of_overton_files_has_no_groups(tmp_path: Path) -> None:
    whole, alone = (
        [outcome(n, answer="One", measures={"coverage": coverage}, lists={}) for n in range(3)]
        for coverage in (0.5, 0.2)
    )
    found = results(overton_file(tmp_path, 3), {"modular": whole, "modular only me": alone})
    [only] = table(found, "patching").rows
    assert (only.name, only.group) == ("modular only me − modular", None)
    assert only.cells["coverage"].value == pytest.approx(-0.3)


def test_moral_choice_is_told_by_ambiguity_with_a_warning(tmp_path: Path) -> None:
    path = option_file(tmp_path, [[1, 0], [0.5, 0.5]], lambda n: "high_ambiguity" if n else "low_ambiguity")
    found = results(path, {"vanilla": [predicted(n, [1, 0]) for n in range(2)]})
    assert row(table(found, "ambiguity"), "vanilla", "low ambiguity").cells["js"].value == pytest.approx(0)
    assert any("always option A" in warning for warning in found.warnings)


def test_figures_of_a_steerable_file_by_value(tmp_path: Path) -> None:
    said = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.9, 0.1, 0.0], [0.1, 0.2, 0.7]]
    outcomes = [predicted(n, shares, shares) for n, shares in enumerate(said)] + [failed(4)]
    found = results(value_file(tmp_path, "AABCA"), {"vanilla": outcomes})
    cells = row(table(found, "overall"), "vanilla").cells
    assert cells["accuracy"].value == pytest.approx(2 / 5)
    assert cells["balanced_accuracy"].value == pytest.approx((1 / 3 + 0 + 1) / 3)
    assert cells["accuracy_2"].value == pytest.approx(1 / 4)
    assert cells["accuracy_2"].n == 4
    assert cells["accuracy_label"].value == cells["accuracy"].value
    assert row(table(found, "overall"), "majority").cells["accuracy"].value == pytest.approx(3 / 5)
    assert row(table(found, "label"), "vanilla", "A (support)").cells["accuracy"].value == pytest.approx(1 / 3)
    assert {each.group for each in table(found, "sort_of_value").rows} == {"duty"}
    best = [each.id for each in found.examples if each.rank == "best"]
    assert best[0] == 0
    assert found.reliability["vanilla"]


def test_figures_of_an_overton_file(tmp_path: Path) -> None:
    outcomes = [
        outcome(0, answer="One two", measures={"coverage": 0.3, "odd_one": 2.0}, lists={"coverage": [0.1, 0.5]}),
        outcome(1, answer="One two three four", measures={"coverage": 0.5, "rating_depth": 4.0}),
        failed(2),
    ]
    found = results(overton_file(tmp_path, 3), {"modular": outcomes})
    cells = row(table(found, "overall"), "modular").cells
    assert cells["coverage"].value == pytest.approx(0.4)
    assert cells["covered"].value == pytest.approx(1 / 3)
    assert cells["coverage_worst"].value == pytest.approx(0.8 / 3)
    assert (cells["rating_depth"].value, cells["rating_depth"].n) == (4, 1)
    assert (cells["odd_one"].value, cells["words"].value) == (2, 3)
    assert "comment_coverage" not in cells
    assert [each.values for each in found.examples if each.id == 0] == [[("v", 0.1), ("w", 0.5)]]


def test_examples_are_the_ten_best_and_the_ten_worst(tmp_path: Path) -> None:
    golds = [[1 - n / 100, n / 100] for n in range(50)]
    order = np.random.default_rng(1).permutation(50)
    path = option_file(tmp_path, [golds[n] for n in order])
    found = results(path, {"m": [predicted(n, [1.0, 0.0]) for n in range(50)]}).examples
    best, worst = ([each for each in found if each.rank == rank] for rank in ("best", "worst"))
    assert [order[int(each.id)] for each in best] == list(range(10))
    assert [order[int(each.id)] for each in worst] == list(range(49, 39, -1))
    assert best[0].score <= best[9].score < worst[9].score <= worst[0].score


def test_of_few_items_none_is_both_best_and_worst(tmp_path: Path) -> None:
    found = results(option_file(tmp_path, GOLDS), {"m": [predicted(n, [1.0, 0.0]) for n in range(4)]})
    assert sorted(int(each.id) for each in found.examples) == [0, 1, 2, 3]


def test_reliability_compares_predicted_with_real_shares(tmp_path: Path) -> None:
    path = option_file(tmp_path, [[0.9, 0.1], [0.5, 0.5]])
    points = results(path, {"m": [predicted(0, [0.72, 0.28]), predicted(1, [0.78, 0.22])]}).reliability["m"]
    assert [each.predicted for each in points] == pytest.approx([0.25, 0.75])
    assert [each.real.value for each in points] == pytest.approx([0.3, 0.7])
    assert [each.real.n for each in points] == [2, 2]


def test_items_with_a_single_option_count_and_are_told(tmp_path: Path) -> None:
    """Nobody can be wrong there, and the figures stay those of plain counting."""
    path = option_file(tmp_path, [[0.9, 0.1], [1.0], [0.6, 0.4], [1.0]])
    shares = [([0.72, 0.28], None), ([1.0], [1.0]), ([0.2, 0.8], None), ([1.0], [1.0])]
    outcomes = [predicted(n, rotate, label) for n, (rotate, label) in enumerate(shares)]
    found = results(path, {"vanilla": outcomes, "modular": outcomes})
    cells = row(table(found, "overall"), "vanilla").cells
    assert (cells["js"].n, cells["agree"].n) == (4, 4)
    assert cells["agree"].value == 0.75
    assert sum(each.real.n for each in found.reliability["vanilla"]) == 4
    assert any("2 items of the file with a single option" in each for each in found.warnings)


def test_methods_that_only_choose_have_no_reliability(tmp_path: Path) -> None:
    path = option_file(tmp_path, [[0.9, 0.1], [0.5, 0.5]])
    assert results(path, {"m": [predicted(n, [1.0, 0.0]) for n in range(2)]}).reliability == {}


def test_a_method_that_always_fails_has_no_distance_and_is_always_wrong(tmp_path: Path) -> None:
    found = results(option_file(tmp_path, GOLDS), {"m": [failed(n) for n in range(4)]})
    cells = row(table(found, "overall"), "m").cells
    assert cells["agree"].value == 0
    assert cells["js_worst"].value == pytest.approx(FARTHEST)
    assert "js" not in cells
    assert found.examples == []


def test_the_same_call_gives_the_same_results_and_survives_json(tmp_path: Path) -> None:
    path = option_file(tmp_path, GOLDS)
    outcomes = {"vanilla": [predicted(n, [0.7, 0.3], [0.9, 0.1]) for n in range(4)]}
    extra = Table(name="extra", title="Extra", columns=[], rows=[])
    first = results(path, outcomes, extra=[extra], warnings=["Mind the gap."])
    assert first == results(path, outcomes, extra=[extra], warnings=["Mind the gap."])
    assert first.tables[-1] == extra
    assert first.warnings[-1] == "Mind the gap."
    assert Results.model_validate_json(first.model_dump_json()) == first


def test_outcomes_in_another_order_are_refused(tmp_path: Path) -> None:
    path = option_file(tmp_path, GOLDS)
    with pytest.raises(ValueError, match="not in the items' order"):
        results(path, {"m": [predicted(n, [0.5, 0.5]) for n in (1, 0, 2, 3)]})
    with pytest.raises(ValueError, match="zip"):
        results(path, {"m": [predicted(0, [0.5, 0.5])]})


def test_a_filled_in_file_keeps_every_other_field(tmp_path: Path) -> None:
    task = TaskFile.open(option_file(tmp_path, GOLDS))
    out = tmp_path / "out" / "filled.json"
    assert write_filled(task, [predicted(0, [0.1, 0.9]), failed(1)], out) == 2
    before, after = json.loads(task.path.read_text()), json.loads(out.read_text())
    assert after == [{**before[0], "pred_distribution": [0.1, 0.9]}, before[1]]
    assert [each.name for each in out.parent.iterdir()] == ["filled.json"]


def test_a_filled_in_choice_names_letter_and_stance(tmp_path: Path) -> None:
    task = TaskFile.open(value_file(tmp_path, "AB"))
    write_filled(task, [predicted(0, [0.2, 0.2, 0.6]), failed(1)], tmp_path / "filled.json")
    assert [each["output"] for each in json.loads((tmp_path / "filled.json").read_text())] == ["C. Either", None]


def test_an_answer_that_could_not_be_measured_is_filled_in(tmp_path: Path) -> None:
    task = TaskFile.open(overton_file(tmp_path, 2))
    unmeasured = outcome(0, answer="Some say so.", error="The answer could not be measured.")
    write_filled(task, [unmeasured, failed(1)], tmp_path / "filled.json")
    assert [each["output"] for each in json.loads((tmp_path / "filled.json").read_text())] == ["Some say so.", None]


@pytest.mark.parametrize("link", [None, "symbolic", "hard"])
def test_a_task_file_is_never_overwritten(tmp_path: Path, link: str | None) -> None:
    task = TaskFile.open(option_file(tmp_path, GOLDS))
    target = task.path if link is None else tmp_path / "link.json"
    if link == "symbolic":
        target.symlink_to(task.path)
    if link == "hard":
        target.hardlink_to(task.path)
    before = task.path.read_bytes()
    with pytest.raises(InputError, match="never overwritten"):
        write_filled(task, [failed(0)], target)
    assert task.path.read_bytes() == before


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    task = TaskFile.open(option_file(tmp_path, GOLDS))
    out = tmp_path / "out" / "filled.json"
    with pytest.raises(ValueError, match="not in the file's order"):
        write_filled(task, [failed(0), failed(2)], out)
    assert list(out.parent.iterdir()) == []
    with pytest.raises(InputError, match="cannot be written"):
        write_filled(task, [failed(0)], task.path / "below" / "filled.json")
