"""What commands print, how far long work is, and how Ctrl-C ends it."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
from importlib.resources import files
from pathlib import Path

import langsmith.utils
import pytest
import typer

from modular_pluralism.cli import progress
from modular_pluralism.cli.app import main
from modular_pluralism.cli.output import json_text, print_json, print_table, safe, say, stoppable, tell
from modular_pluralism.cli.progress import EvalProgress, TrainingProgress
from tests.short_pool import pair_pool

LONG = "a word, " * 30


def test_what_is_said_is_never_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    say("[bold]no markup[/bold] \x1b[31mno colour\x1b[0m \u202etext", "bold")
    assert capsys.readouterr().out == "[bold]no markup[/bold] [31mno colour[0m text\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_terminal_is_told_nothing_that_it_would_obey(monkeypatch: pytest.MonkeyPatch, stream: str) -> None:
    for out, shown in ((Terminal(), "[2J]0;title txet\n"), (io.StringIO(), "\x1b[2J\x1b]0;title\x07\x9b \u202etxet\n")):
        monkeypatch.setattr(sys, stream, out)
        tell("\x1b[2J\x1b]0;title\x07\x9b \u202etxet", err=stream == "stderr")
        assert out.getvalue() == shown


@pytest.mark.parametrize("command", ["serve", "debug"])
@pytest.mark.parametrize(("said", "told"), [("true", True), ("false", False), (None, False)])
def test_whoever_starts_a_server_is_told_that_langsmith_is_sent_what_is_said(
    command: str, said: str | None, told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.delenv(name, raising=False)
    if said is not None:
        monkeypatch.setenv("LANGSMITH_TRACING", said)
    langsmith.utils.get_env_var.cache_clear()  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "argv", ["pluralism", command, "--pool", "nosuch"])
    with pytest.raises(SystemExit):
        main()
    langsmith.utils.get_env_var.cache_clear()  # type: ignore[attr-defined]
    assert ("LangSmith is sent every prompt and every reply" in capsys.readouterr().out) == told


def test_json_holds_what_a_terminal_would_obey_as_escapes() -> None:
    nasty = "\x1b[2J \x9b \u202e \ud800 \x7f é 𝄞 क्\u200dष\n"
    text = json_text({"answer": nasty})
    assert json.loads(text)["answer"] == nasty
    assert safe(text).plain == text
    assert "é 𝄞 क्\u200dष" in text


def test_commands_print_through_one_place() -> None:
    """`typer.echo` and `print` show whatever they are given."""
    folder = Path(str(files("modular_pluralism.cli")))
    direct = re.compile(r"\b(typer|click)\.(echo|secho)\(|(?<![\w.])print\(")
    found = [path.name for path in folder.glob("*.py") if direct.search(path.read_text(encoding="utf-8"))]
    assert found == ["output.py"]


def test_only_prose_is_broken_into_lines(capsys: pytest.CaptureFixture[str]) -> None:
    say(LONG)
    assert len(capsys.readouterr().out.splitlines()) == 1
    say(LONG, prose=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert all(line.strip().endswith(",") for line in lines)


def test_a_table_holds_every_cell(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "words"), [("comment", "7"), ("[b]merge\x07", "1234")], right=["words"])
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row[1:3]] for row in rows] == [["comment", "7"], ["[b]merge", "1234"]]
    assert rows[0][2].endswith("    7 ")


def test_json_is_for_programs_and_keeps_letters(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "Zoë"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"name": "Zoë"}
    assert "Zoë" in out


@pytest.mark.parametrize("pressed", [KeyboardInterrupt, asyncio.CancelledError])
def test_ctrl_c_ends_a_command_with_a_sentence(
    pressed: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, stoppable("Stopped. Go on."):
        raise pressed
    assert ended.value.exit_code == 130
    assert capsys.readouterr() == ("", "Stopped. Go on.\n")
    with pytest.raises(ValueError, match="another"), stoppable():
        raise ValueError("another")


def test_an_evaluation_tells_of_itself_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    with EvalProgress(3, out) as shown:
        shown.known(1)
        shown.made(None, {"error": None})
        assert len(out.getvalue().splitlines()) == 1  # one line at the most in a while
        shown.made(None, {"error": "failed"})
    going_on, last = out.getvalue().splitlines()
    assert going_on == "Going on: 1 of 3 results are there."
    assert last.startswith("3 of 3 results, 1 failed, ")
    assert last.endswith(" a second, 0:00:00 left")


def test_a_training_tells_of_itself_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    out = io.StringIO()
    with TrainingProgress("europe", out) as shown:
        shown.started(10, 20)
        shown.stepped(15, 1.25)
    first, second = out.getvalue().splitlines()
    assert first == "Training europe: 20 steps, going on after 10."
    assert second.startswith("15 of 20 steps, loss 1.250, 0:00:00 left at most")


def written(monkeypatch: pytest.MonkeyPatch, encoding: str, *arguments: str) -> str:
    """What the command writes to an output of this encoding."""
    out = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["pluralism", *arguments])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    return out.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_output_is_lost_to_an_encoding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoding: str) -> None:
    pool = tmp_path / "pool.toml"
    pool.write_text(pair_pool(tmp_path).read_text().replace("left-leaning news media", "東京🙂 people"), "utf-8")
    shown = written(monkeypatch, encoding, "communities", "--pool", str(pool))
    assert ("東京🙂" in shown) == (encoding == "utf-8")
    assert encoding == "utf-8" or "\\u6771" in "".join(shown.split())
    listed = json.loads(written(monkeypatch, encoding, "communities", "--pool", str(pool), "--json"))
    assert "東京🙂 people" in json.dumps(listed, ensure_ascii=False)
    assert written(monkeypatch, encoding, "prompts")
    assert written(monkeypatch, encoding, "ask", "--help")


def test_an_output_that_is_full_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["pluralism", "prompts"])
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "Error: The output cannot be written (No space left on device); make room, or send it elsewhere.\n"
    )


@pytest.mark.parametrize("arguments", [["eval"], ["prompts", "check"], ["ask", "Why?", "--prompts"]])
def test_a_name_that_no_file_can_have_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pluralism", *arguments, "n" * 300])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"Error: {'n' * 100} cannot be used (File name too long); name another file.\n"


def test_joiners_that_join_are_kept() -> None:
    assert safe("می‌خواهم 👩‍👩").plain == "می‌خواهم 👩‍👩"
    assert safe("‍a ‌ b‍").plain == "a  b"
