"""Task files: what is read from them, and what is refused before any model is loaded."""

from __future__ import annotations

import hashlib
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.errors import PluralismError, TaskFileError
from modular_pluralism.evaluation.data.items import OptionItem, OvertonItem, ValueItem
from modular_pluralism.evaluation.data.task_file import TaskFile

DATA = Path(__file__).parents[2] / "shared" / "data"

OPTION = {
    "id": 1,
    "question": "Question: Tea?\nOptions: A. Yes B. No\nAnswer:",
    "options": ["Yes", "No"],
    "attribute": "Kenya",
    "gold_distribution": [0.25, 0.75],
    "pred_distribution": None,
}
VALUE = {
    "id": "v",
    "situation": "telling a lie",
    "vrd": "Honesty",
    "label": "B",
    "input": "Situation: telling a lie\n\nA. Support B. Oppose C. Either\nAnswer:",
    "output": None,
}
OVERTON = {
    "id": 3,
    "situation": "telling a lie",
    "vrd": ["Honesty", "Kindness"],
    "explanation": ["Lies break trust.", "Lies can spare feelings."],
    "input": "Please comment: telling a lie.",
    "output": None,
}


def written(folder: Path, content: object) -> Path:
    path = folder / "task.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_an_option_item_is_read_without_its_letters(tmp_path: Path) -> None:
    task = TaskFile.open(written(tmp_path, [OPTION]))
    assert (task.kind, task.count, task.unparsed) == ("distributional", 1, 0)
    assert list(task.items()) == [OptionItem(1, "Tea?", ("Yes", "No"), "Kenya", (0.25, 0.75), None, True)]


def test_a_value_item_is_read(tmp_path: Path) -> None:
    task = TaskFile.open(written(tmp_path, [VALUE]))
    assert task.kind == "steerable-value"
    assert list(task.items()) == [
        ValueItem("v", "telling a lie", "Honesty", "B", "Situation: telling a lie", None),
    ]


@pytest.mark.parametrize("item", [VALUE, OVERTON])
def test_the_answer_that_a_file_brings_is_read_with_its_item(tmp_path: Path, item: dict[str, Any]) -> None:
    [read] = TaskFile.open(written(tmp_path, [{**item, "output": "Said before."}])).items()
    assert isinstance(read, ValueItem | OvertonItem)
    assert read.output == "Said before."


def test_an_overton_item_is_read(tmp_path: Path) -> None:
    task = TaskFile.open(written(tmp_path, [OVERTON]))
    assert task.kind == "overton"
    [item] = task.items()
    assert isinstance(item, OvertonItem)
    assert item.explanations == ("Lies break trust.", "Lies can spare feelings.")


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        (["RELIG_Atheist", "SEX_Male"], "steerable-opinion"),
        (["RELIG_Atheist", "Kenya"], "distributional"),
        (["low_ambiguity"], "distributional"),
    ],
)
def test_attributes_of_demographic_groups_tell_the_kind(tmp_path: Path, attributes: list[str], kind: str) -> None:
    path = written(tmp_path, [{**OPTION, "id": n, "attribute": each} for n, each in enumerate(attributes)])
    assert TaskFile.open(path).kind == kind
    assert TaskFile.open(path, kind="steerable-opinion").kind == "steerable-opinion"
    assert TaskFile.open(path, kind="distributional").kind == "distributional"


def test_a_kind_that_the_fields_contradict_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError, match="of the kind overton, not distributional"):
        TaskFile.open(written(tmp_path, [OVERTON]), kind="distributional")


def test_items_can_be_read_in_parts_and_as_they_are(tmp_path: Path) -> None:
    raw = [{**OPTION, "id": n, "mine": {"kept": [n]}} for n in range(5)]
    task = TaskFile.open(written(tmp_path, raw))
    assert [item.id for item in task.items(limit=2, start=1)] == [1, 2]
    assert [item.id for item in task.items(start=3)] == [3, 4]
    assert list(task.raw()) == raw
    assert task.digest == hashlib.sha256(task.path.read_bytes()).hexdigest()


def test_odd_but_real_items_are_counted(tmp_path: Path) -> None:
    odd = [
        OPTION,
        {**OPTION, "id": 2, "options": ["Yes", "Yes"]},
        {**OPTION, "id": 3, "options": ["Yes"], "gold_distribution": [1], "question": "Tea? A. Yes Answer:"},
    ]
    task = TaskFile.open(written(tmp_path, odd))
    assert (task.equal_options, task.single_option, task.unparsed) == (1, 1, 1)  # the second says A. Yes B. No


def test_a_byte_order_mark_and_escaped_characters_are_read(tmp_path: Path) -> None:
    text = json.dumps([{**OPTION, "attribute": "😀 \\ud800"}])  # an escaped backslash, and no half character
    task = TaskFile.open(written(tmp_path, b"\xef\xbb\xbf" + text.encode()))
    [item] = task.items()
    assert isinstance(item, OptionItem)
    assert item.attribute == "😀 \\ud800"


def without(item: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != field}


NO_DISTRIBUTIONS: list[Any] = [
    [0.5, 0.502],
    [1.5, -0.5],
    [0.5],
    [0.2, 0.3, 0.5],
    ["1", 0],
    [True, False],
    {},
    1,
    [None, 1],
]

BAD_ITEMS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    *(
        (OPTION, without(OPTION, field), field)
        for field in ("id", "question", "options", "attribute", "gold_distribution")
    ),
    *((VALUE, without(VALUE, field), field) for field in ("id", "situation", "vrd", "input", "label")),
    *((OVERTON, without(OVERTON, field), field) for field in ("id", "situation", "vrd", "input", "explanation")),
    *((OPTION, {**OPTION, "id": bad}, "id") for bad in (None, True, 1.5, "", [1])),
    *((OPTION, {**OPTION, "question": bad}, "question") for bad in (None, 5, "", " \n")),
    *((OPTION, {**OPTION, "options": bad}, "options") for bad in ([], "Yes", ["Yes", 1], ["Yes", ""], ["x"] * 27)),
    *((OPTION, {**OPTION, "gold_distribution": bad}, "gold_distribution") for bad in NO_DISTRIBUTIONS),
    (OPTION, {**OPTION, "pred_distribution": [0.3, 0.3]}, "pred_distribution"),
    *((VALUE, {**VALUE, "label": bad}, "label") for bad in ("D", "a", "", 1, None)),
    (VALUE, {**VALUE, "output": 5}, "output"),
    (OVERTON, {**OVERTON, "explanation": ["one"]}, "explanation"),
    (OVERTON, {**OVERTON, "explanation": []}, "explanation"),
    (OVERTON, {**OVERTON, "vrd": "Honesty"}, "vrd"),
]


@pytest.mark.parametrize(("good", "bad", "field"), BAD_ITEMS)
def test_an_unusable_item_is_refused_with_file_item_and_field(
    tmp_path: Path, good: dict[str, Any], bad: dict[str, Any], field: str
) -> None:
    path = written(tmp_path, [{**good, "id": "first"}, bad])
    with pytest.raises(TaskFileError) as refused:
        TaskFile.open(path)
    message = str(refused.value)
    assert str(path) in message
    assert "item 2" in message
    assert f"field {field}" in message
    if bad.get("id") not in (None, "", True, 1.5) and not isinstance(bad["id"], list):
        assert f"(id {bad['id']})" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"[]", "holds no items"),
        (b"{}", "not a JSON list"),
        (b'"text"', "not a JSON list"),
        (b'{"a": 1}\n{"a": 2}\n', "not a JSON list"),
        (b"[1]", "item 1, is not an object"),
        (b"[[]]", "item 1, is not an object"),
        (b"[{}]", "item 1, has none of the fields"),
        (b"hello", "not valid JSON"),
        (b'[{"id": 1', "item 1, field 'id', is not valid JSON"),
        (f"[{json.dumps(OPTION)}".encode(), "after item 1, is not valid JSON"),
        (f"[{json.dumps(OPTION)}] x".encode(), "after item 1, goes on where its list has ended"),
        (f"[{json.dumps(OPTION)}][]".encode(), "after item 1, goes on where its list has ended"),
        (b'[{"id": 1, "attribute": "\xff"}]', "item 1, field 'attribute', is not UTF-8"),
        *(
            (json.dumps([OPTION]).encode(each), "looks like UTF-16 or UTF-32")
            for each in ("utf-16", "utf-16-be", "utf-32")
        ),
        (b'[{"id": ' + b"9" * 5000 + b"}]", "item 1, field 'id', holds a number that is too large"),
        (b'[{"id": 1, "n": ' + b"9" * 5000 + b"}]", "item 1, field 'n', holds a number that is too large"),
        (b'[{"id": ' + b'{"a": ' * 100_000, "item 1, field 'id', is nested too deeply"),
        (b'[{"id": "\\ud800"}]', "lone surrogate"),
        (b'[{"id": "\\udc00"}]', "lone surrogate"),
        (b'[{"id": 1, "a": ' + b"[" * 100 + b"]" * 100 + b"}]", "item 1, field 'a', is nested too deeply"),
        (b'[{"id": 1, "gold_distribution": [1e999]}]', "item 1, field 'gold_distribution', holds a number"),
    ],
)
def test_what_is_no_list_of_items_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(TaskFileError, match=said) as refused:
        TaskFile.open(path)
    assert str(path) in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    "padding", ['"' + "x" * 5 * 2**20 + '"', "[" + "[]," * (3 * 2**19) + "1]", " " * 5 * 2**20 + "1"]
)
def test_an_item_of_megabytes_is_refused_before_it_is_read_to_its_end(tmp_path: Path, padding: str) -> None:
    good, bad = json.dumps(OPTION), json.dumps({**OPTION, "id": 2, "a": 0}).replace('"a": 0', f'"a": {padding}')
    path = written(tmp_path, f"[{good}, {bad}]")
    tracemalloc.start()
    try:
        with pytest.raises(TaskFileError, match=r"item 2, is larger than 4 MiB; leave out what is not needed of it\.$"):
            TaskFile.open(path)
        assert tracemalloc.get_traced_memory()[1] < 128 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_nan_is_refused_with_its_place(tmp_path: Path, number: str) -> None:
    good, bad = json.dumps(OPTION), json.dumps({**OPTION, "id": 2}).replace("0.25", number)
    with pytest.raises(TaskFileError, match=r"item 2, field 'gold_distribution', is not valid JSON .* NaN"):
        TaskFile.open(written(tmp_path, f"[{good}, {bad}]"))


@pytest.mark.parametrize("start", [0, 1, 5, 6, 11, 12, 13])
def test_half_a_character_is_found_wherever_the_file_is_read_in_parts(tmp_path: Path, start: int) -> None:
    filler = "x" * (64 * 1024 - len('[{"id": "') - start)
    with pytest.raises(TaskFileError, match="lone surrogate"):
        TaskFile.open(written(tmp_path, f'[{{"id": "{filler}\\ud83d and more"}}]'))
    whole = json.dumps([{**OPTION, "id": f"{filler}\U0001f600\\ud83d"}])
    assert TaskFile.open(written(tmp_path, whole)).count == 1


def test_ids_are_told_apart_as_text(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError, match=r"item 2 \(id 1\), field id: is the same"):
        TaskFile.open(written(tmp_path, [OPTION, {**OPTION, "id": "1"}]))


@pytest.mark.parametrize("other", [VALUE, OVERTON])
def test_items_of_two_tasks_are_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    with pytest.raises(TaskFileError, match=r"item 2 .* belongs to another task"):
        TaskFile.open(written(tmp_path, [OPTION, other]))


def test_a_sum_within_the_tolerance_is_kept_as_it_is(tmp_path: Path) -> None:
    [item] = TaskFile.open(written(tmp_path, [{**OPTION, "gold_distribution": [0.25, 0.7509]}])).items()
    assert isinstance(item, OptionItem)
    assert item.gold == (0.25, 0.7509)


def test_an_id_cannot_command_a_terminal(tmp_path: Path) -> None:
    bad = {**OPTION, "id": "one\x1b[2J\n\x9b2J\u202e", "gold_distribution": [1, 1]}
    with pytest.raises(TaskFileError, match="sums to 2") as refused:
        TaskFile.open(written(tmp_path, [bad]))
    assert str(refused.value).isprintable()
    assert "(id one" in str(refused.value)


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", Path("/dev/null")):
        with pytest.raises(TaskFileError, match="a folder or a device"):
            TaskFile.open(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError, match="There is no file"):
        TaskFile.open(tmp_path / "none.json")
    with pytest.raises(TaskFileError, match="is a folder"):
        TaskFile.open(tmp_path)


@given(st.binary(max_size=200) | st.text(alphabet='[]{}":,\\ud8cn1.e-idlabel ', max_size=80).map(str.encode))
def test_no_bytes_bring_anything_but_a_clear_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = written(tmp_path_factory.getbasetemp(), content)
    with pytest.raises(PluralismError):
        TaskFile.open(path)


def test_memory_does_not_grow_with_the_items(tmp_path: Path) -> None:
    text = "long " * 2000
    path = tmp_path / "task.json"

    def peak(items: int) -> int:
        with path.open("w") as file:
            file.write("[")
            for n in range(items):
                file.write(("," if n else "") + json.dumps({**OPTION, "id": n, "question": text}))
            file.write("]")
        tracemalloc.start()
        assert sum(1 for _ in TaskFile.open(path).items()) == items
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(300) < peak(100) + 500_000  # the file has grown by two million bytes


@pytest.mark.skipif(not DATA.is_dir(), reason="the development files are not here")
@pytest.mark.parametrize(
    ("name", "kind", "count", "equal", "single"),
    [
        ("distributional_test_globalopinionqa_dev550", "distributional", 550, 0, 0),
        ("distributional_test_moralchoice_dev150", "distributional", 150, 0, 0),
        ("globalopinionqa_train", "distributional", 3811, 0, 0),
        ("steerable_test_opinionqa_dev600", "steerable-opinion", 600, 3, 2),
        ("steerable_test_valuekaleidoscope_dev600", "steerable-value", 600, 0, 0),
        ("overton_test_valuekaleidoscope_dev300", "overton", 300, 0, 0),
    ],
)
def test_the_real_files_open(name: str, kind: str, count: int, equal: int, single: int) -> None:
    task = TaskFile.open(DATA / f"{name}.json")
    assert (task.kind, task.count, task.equal_options, task.single_option) == (kind, count, equal, single)
    assert task.unparsed == 0
