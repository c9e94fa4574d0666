"""`pluralism prompts`: the list, one prompt, and a folder of one's own, as a user sees them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from modular_pluralism.errors import PromptError
from modular_pluralism.modes import find_mode
from modular_pluralism.pool import Pool
from modular_pluralism.prompt_trials.folders import files_of_mode, kept_files, write_prompts
from modular_pluralism.prompt_trials.uses import uses_of
from modular_pluralism.prompts import PromptSet, built_in_files, find_prompt, read_folder
from tests.command import PLURALISM, pluralism

MERGE = built_in_files()["merge.txt"].file_text()
OF_OVERTON = [
    "comment.txt",
    "evidence.txt",
    "merge.txt",
    "numbered_comment.txt",
    "recorded_answer.txt",
    "recorded_share.txt",
]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "merge.txt").write_text(MERGE.replace("one paragraph", "two sentences"))
    return folder


def test_the_list_names_every_prompt_with_its_uses() -> None:
    done = pluralism("prompts", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["file"]: row for row in json.loads(done.stdout)["prompts"]}
    assert set(rows) == set(built_in_files())
    assert all(row["used_by"] for row in rows.values())
    assert rows["merge.txt"]["used_by"] == [{"graph": graph, "node": "merge"} for graph in ("overton", "assembly")]
    assert rows["merge.txt"]["variables"] == ["question", "comments"]
    assert rows["merge.txt"]["words"] == 57
    assert {"pool": "perspective", "community": "news_left"} in rows["personas/news_left.md"]["used_by"]
    shown = pluralism("prompts").stdout
    assert "overton (merge)" in shown
    assert "pool culture" in shown


@pytest.mark.parametrize("name", ["merge", "completion/merge", "personas/news_left", "news_left.md"])
def test_what_is_shown_is_the_file(name: str) -> None:
    done = pluralism("prompts", "show", name)
    assert done.returncode == 0, done.stderr
    assert done.stdout == Path(find_prompt(name)[1].path).read_text()


def test_every_prompt_is_written_as_its_file_has_it() -> None:
    for prompt in built_in_files().values():
        assert prompt.file_text() == Path(prompt.path).read_text()


def test_a_shown_prompt_begins_a_folder(tmp_path: Path) -> None:
    (tmp_path / "merge.txt").write_text(pluralism("prompts", "show", "merge").stdout)
    done = pluralism("prompts", "check", str(tmp_path))
    assert done.returncode == 0
    assert "changes nothing" in done.stdout
    assert "does not differ" in pluralism("prompts", "diff", "merge", str(tmp_path)).stdout


def test_a_usable_folder(mine: Path) -> None:
    done = pluralism("prompts", "check", str(mine))
    assert done.returncode == 0, done.stdout
    assert "merge.txt replaces the built-in prompt." in done.stdout
    assert f"--prompts {mine}" in done.stdout
    told = json.loads(pluralism("prompts", "check", str(mine), "--json").stdout)
    assert told["usable"] is True
    assert told["files"] == [{"file": "merge.txt", "replaces": True, "same": False, "problems": []}]


def test_braces_in_a_persona_are_no_variables_in_what_is_told_of_it(tmp_path: Path) -> None:
    (tmp_path / "personas").mkdir()
    text = built_in_files()["personas/news_left.md"].file_text().replace("version: 1", "version: new")
    (tmp_path / "personas" / "news_left.md").write_text(f"{text}\nYou write {{this}}.\n")
    [file] = read_folder(tmp_path)
    [problem] = file.problems
    assert "version" in problem
    assert "{this}" not in problem


def test_all_that_is_wrong_with_a_folder_is_told_at_once(mine: Path) -> None:
    (mine / "merge.txt").write_text(MERGE.replace("{comments}", "{coments}"))
    (mine / "merg.txt").write_text("anything")
    (mine / "select.txt").write_text("no header")
    (mine / "more").mkdir()
    (mine / "completion").mkdir()
    (mine / "completion" / "score.txt").write_bytes(b"\xff\xfe")
    (mine / "README.md").write_text("passed over")
    done = pluralism("prompts", "check", str(mine), "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["usable"] is False
    problems = {each["file"]: " ".join(each["problems"]) for each in told["files"]}
    assert set(problems) == {"merge.txt", "merg.txt", "select.txt", "more", "completion/score.txt"}
    assert "does not use {comments}" in problems["merge.txt"]
    assert "uses {coments}" in problems["merge.txt"]
    assert "did you mean 'merge.txt'" in problems["merg.txt"]
    assert "header" in problems["select.txt"]
    assert "folder that prompts do not have" in problems["more"]
    assert "UTF-8" in problems["completion/score.txt"]
    assert all(problem.endswith(".") for problem in problems.values())
    shown = pluralism("prompts", "check", str(mine)).stdout
    assert "5 of 5 files cannot be used" in shown


def test_a_folder_that_loads_is_usable_and_one_that_does_not_is_not(mine: Path) -> None:
    assert not any(each.problems for each in read_folder(mine))
    PromptSet.load(mine)
    (mine / "merge.txt").write_text(MERGE.replace("version: 1", "version: one"))
    assert read_folder(mine)[0].problems
    with pytest.raises(PromptError):
        PromptSet.load(mine)


def test_an_empty_folder_is_not_usable(tmp_path: Path) -> None:
    done = pluralism("prompts", "check", str(tmp_path))
    assert done.returncode == 1
    assert "holds no prompt" in done.stdout


def test_a_difference_is_shown_as_a_unified_diff(mine: Path) -> None:
    done = pluralism("prompts", "diff", "merge", str(mine))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("--- built-in/merge.txt\n+++ ")
    assert "\n+Answer the question in two sentences" in done.stdout
    assert "\x1b" not in done.stdout
    lines = json.loads(pluralism("prompts", "diff", "merge", str(mine), "--json").stdout)["diff"]
    assert "\n".join(lines) == done.stdout.rstrip("\n")


def test_a_diff_has_colours_on_a_terminal_and_obeys_no_text(mine: Path) -> None:
    path = mine / "merge.txt"
    path.write_text(path.read_text() + "\x1b]0;title\x07")
    outside, inside = pty.openpty()
    process = subprocess.Popen(
        [PLURALISM, "prompts", "diff", "merge", str(mine)],
        stdout=inside,
        env={key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm"},
    )
    os.close(inside)
    shown = b""
    while True:
        try:
            part = os.read(outside, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    assert process.wait(60) == 0
    os.close(outside)
    assert b"\x1b[32m+Answer the question in two sentences" in shown
    assert b"\x1b]0;" not in shown


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("show", "merg"), "did you mean 'merge'"),
        (("show", "../merge"), "no prompt"),
        (("check", "nowhere"), "does not exist"),
        (("diff", "select", "mine"), "has no select.txt"),
        (("diff", "merge", "nowhere"), "does not exist"),
    ],
)
def test_bad_calls_are_one_sentence(mine: Path, call: tuple[str, ...], told: str) -> None:
    done = pluralism("prompts", *call, cwd=mine.parent)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_texts_replace_prompts_and_personas() -> None:
    prompts = PromptSet.load()
    changed = prompts.with_texts({"merge": "{question} {comments}", "news_left.md": "You are left."})
    assert changed["merge"].render_text(question="a", comments="b") == "a b"
    assert changed.persona("news_left.md") == "You are left."
    assert changed["select"] is prompts["select"]
    assert prompts["merge"].text != "{question} {comments}"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("merge", "{question}", "comments"),
        ("merge", "{question} {comments} {more}", "more"),
        ("merge", " ", "no text"),
        ("merg", "{question}", "did you mean"),
    ],
)
def test_an_unusable_text_is_refused(name: str, text: str, told: str) -> None:
    with pytest.raises(PromptError, match=told):
        PromptSet.load().with_texts({name: text})


# Beginning a folder, and keeping what has won


def test_a_folder_begins_with_the_prompts_of_a_mode(tmp_path: Path) -> None:
    assert set(files_of_mode("overton")) == set(OF_OVERTON)
    assert "select.txt" in files_of_mode("steerable")
    assert {"vote.txt", "score_text.txt", "comment_options.txt"} <= set(files_of_mode("distributional"))
    assert "merge.txt" not in files_of_mode("distributional")
    plain = files_of_mode("overton", style="completion")
    assert {"completion/merge.txt", "completion/comment.txt"} <= set(plain)
    with_personas = files_of_mode("overton", pool=Pool.load("perspective"))
    assert "personas/news_left.md" in with_personas
    assert "personas/africa.md" not in with_personas
    assert set(files_of_mode(None)) == {file for file in built_in_files() if "/" not in file}
    write_prompts(tmp_path / "mine", files_of_mode("overton"))
    assert all(file.same for file in read_folder(tmp_path / "mine"))


@pytest.mark.parametrize("mode", ["overton", "steerable", "distributional"])
def test_every_prompt_that_a_mode_may_use_is_copied(mode: str, tmp_path: Path) -> None:
    files = files_of_mode(mode)
    wanted = {prompt for node in find_mode(mode).nodes() for prompt in node.prompts}
    assert {f"{name}.txt" for name in wanted} <= set(files)
    assert all(any(use.graph == mode for use in uses_of(file.removesuffix(".txt"))) for file in files)


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    folder, texts = tmp_path / "mine", {"comment.txt": "one", "merge.txt": "two"}
    assert write_prompts(folder, texts) == [folder / "comment.txt", folder / "merge.txt"]
    assert write_prompts(folder, texts) == []
    with pytest.raises(PromptError, match=r"another text of merge.txt; .* --force"):
        write_prompts(folder, {"comment.txt": "one", "merge.txt": "three", "select.txt": "four"})
    assert not (folder / "select.txt").exists(), "nothing is written where not all can be"
    assert (folder / "merge.txt").read_text() == "two"
    assert write_prompts(folder, {"merge.txt": "three"}, force=True) == [folder / "merge.txt"]
    assert (folder / "merge.txt").read_text() == "three"
    (tmp_path / "file").write_text("")
    with pytest.raises(PromptError, match="cannot be written"):
        write_prompts(tmp_path / "file", texts)


def test_only_what_a_variant_changes_is_kept(mine: Path) -> None:
    (mine / "select.txt").write_text(built_in_files()["select.txt"].file_text())
    assert set(kept_files(mine)) == {"merge.txt"}
    (mine / "merge.txt").write_text(MERGE)
    with pytest.raises(PromptError, match="changes no prompt"):
        kept_files(mine)
    (mine / "merge.txt").write_text("no header")
    with pytest.raises(PromptError, match="header"):
        kept_files(mine)


def test_a_variant_is_copied_changed_and_kept_on_the_command_line(tmp_path: Path) -> None:
    done = pluralism("prompts", "copy", "mine", "--mode", "overton", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["written"] == OF_OVERTON
    path = tmp_path / "mine" / "merge.txt"
    path.write_text(path.read_text().replace("one paragraph", "two sentences"))
    done = pluralism("prompts", "copy", "mine", cwd=tmp_path)
    assert done.returncode == 2
    assert "mine has another text of merge.txt; name another folder, or overwrite with --force." in done.stderr
    done = pluralism("prompts", "keep", "mine", "--into", "my prompts", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Use it with: --prompts 'my prompts'" in done.stdout
    assert [file.name for file in (tmp_path / "my prompts").iterdir()] == ["merge.txt"]
    done = pluralism("prompts", "copy", "mine", "--mode", "overtone", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("See --mode.")
