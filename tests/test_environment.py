"""What surrounds a command: no home folder, closed streams, other encodings, full disks, others at the same file."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import typer
from langgraph.checkpoint.memory import InMemorySaver

from modular_pluralism.cli import typed
from modular_pluralism.cli.app import app, main
from modular_pluralism.cli.ask import show
from modular_pluralism.cli.community import _group_names
from modular_pluralism.cli.output import print_paid
from modular_pluralism.cli.run_graph import run_graph
from modular_pluralism.cli.terminal_view import TerminalView
from modular_pluralism.edit_lock import alone_at
from modular_pluralism.errors import (
    AdapterError,
    ConfigurationError,
    InputError,
    ModelLoadError,
    PoolError,
    StoreError,
    UnkeptError,
)
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.home import expanded, home, own_folder
from modular_pluralism.llama.hub_files import check_hub_cache
from modular_pluralism.llama.ollama_store import store_folders
from modular_pluralism.models.found_models import found_models, llama_cpp_folders, lm_studio_folders
from modular_pluralism.modes import find_mode
from modular_pluralism.pool import COMMUNITY_NAME, Pool
from modular_pluralism.pool_files import add_community, remove_community
from modular_pluralism.prepared.cache import find_entry
from modular_pluralism.prompt_trials.questions import read_questions
from modular_pluralism.prompts import PromptSet
from modular_pluralism.runs.location import find_location
from modular_pluralism.runs.plain_saver import PlainSaver
from modular_pluralism.runs.setup import Setup
from modular_pluralism.serving.keys import load_keys
from modular_pluralism.training.gguf_adapter import read_config
from modular_pluralism.types import Comment
from tests.fake_models import choosing, fake_models, fake_pool
from tests.random_model import RANDOM_GGUF

PROMPTS = PromptSet.load()
COMMENT: Comment = {
    "community": "first",
    "text": "so",
    "error": None,
    "finish_reason": "stop",
    "prompt_tokens": 1,
    "cached_tokens": 0,
    "completion_tokens": 1,
    "seconds": 0.1,
    "attempts": 1,
}
POOL = (
    f'base = "m"\n[models.m]\ngguf = "{RANDOM_GGUF}"\n'
    '[communities.first]\nmodel = "m"\ndescription = "the first"\n[run]\ncomment_tokens = 4\nanswer_tokens = 4\n'
)
DIGITS = "9" * 5000


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    file = tmp_path / "pool.toml"
    file.write_text(POOL)
    return file


def told(arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Exit code and standard error of the command, in this process."""
    monkeypatch.setattr(sys, "argv", ["pluralism", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    return code if isinstance(code, int) else 0, capsys.readouterr().err


# No home folder


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object) -> None:
        raise KeyError

    for variable in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "MODULAR_PLURALISM_STORE", "MODULAR_PLURALISM_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "~/.cache/huggingface/hub")


@pytest.mark.usefixtures("homeless")
def test_without_a_home_folder_nothing_is_found_in_it() -> None:
    assert home() is None
    assert lm_studio_folders() == llama_cpp_folders() == []
    assert all(folder.is_absolute() for folder in store_folders())
    assert all(model.place in ("Python package", "Ollama") for model in found_models())
    assert find_entry(RANDOM_GGUF) is None
    with pytest.raises(ModelLoadError, match=r"^hf:a/b cannot be fetched.* no home folder .*HF_HOME\.$"):
        check_hub_cache("hf:a/b")


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["models"], "no home folder here to keep prepared models in; name a folder in MODULAR_PLURALISM_CACHE."),
        (["models", "prepare"], "name a folder in MODULAR_PLURALISM_CACHE."),
        (["runs"], "no home folder here to keep runs in; name a file with --store, or in MODULAR_PLURALISM_STORE."),
        (["score", "~/task.json"], "~/task.json cannot be found, since you have no home folder here; write the path"),
        (["communities", "--pool=~nobody-here/pool.toml"], "no user 'nobody-here' has a home folder here"),
    ],
)
def test_without_a_home_folder_a_sentence_names_another(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code, err = told(arguments, capsys, monkeypatch)
    assert code == 2
    assert says in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("homeless")
def test_a_folder_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert find_location(tmp_path / "runs.sqlite").path == tmp_path / "runs.sqlite"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert own_folder("data", "runs", "nowhere").is_relative_to(tmp_path)


def test_whose_home_there_is_none_of_is_told() -> None:
    for error in (InputError, PoolError, AdapterError):
        with pytest.raises(error, match="no user 'nobody-here'"):
            expanded("~nobody-here/file", error)


# Paths as they are typed


def callbacks(command: Any) -> Iterator[Any]:
    """The functions of a command and of all below it."""
    if command.callback is not None:
        yield command.callback.__wrapped__
    for each in getattr(command, "commands", {}).values():
        yield from callbacks(each)


def parameters() -> Iterator[tuple[str, Any, Any]]:
    """Every option and argument of the command, with its type and what Typer is told of it."""
    for callback in callbacks(typer.main.get_command(app)):
        signature = getattr(callback, "__signature__", None)
        hints = get_type_hints(callback, include_extras=True)
        if signature is not None:
            hints = {name: parameter.annotation for name, parameter in signature.parameters.items()}
        for name, hint in hints.items():
            if get_origin(hint) is Annotated:
                kind, *more = get_args(hint)
                yield f"{callback.__name__} {name}", kind, more[0]


def test_every_path_is_expanded() -> None:
    paths = {name: info for name, kind, info in parameters() if Path in (kind, *get_args(kind))}
    assert len(paths) > 15
    parsers = {typed.typed_path, typed.typed_file}
    assert [name for name, info in paths.items() if info.parser not in parsers] == []
    either = [(name, info) for name, _, info in parameters() if "NAME|FILE" in str(info.metavar)]
    assert [name for name, info in either if info.parser is not typed.typed_name_or_path] == []


def test_a_tilde_within_a_word_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert typed.typed_path("~/x") == tmp_path / "x"
    assert typed.typed_name_or_path("~/x.toml") == str(tmp_path / "x.toml")
    assert typed.typed_name_or_path("culture") == "culture"
    with pytest.raises(typer.BadParameter, match="does not exist"):
        typed.typed_file("~/gone.gguf")


# Two edits at the same time


def test_two_edits_of_one_pool_are_both_kept(pool: Path) -> None:
    edit = (
        "import sys; from pathlib import Path; from modular_pluralism.pool_files import add_community\n"
        "for n in range(5): add_community(Path(sys.argv[1]), f'{sys.argv[2]}{n}', {'model': 'm', 'description': 'x'})"
    )
    other = subprocess.Popen([sys.executable, "-c", edit, str(pool), "a"])
    while "a0" not in pool.read_text():
        time.sleep(0.01)
    for number in range(5):
        add_community(pool, f"c{number}", {"model": "m", "description": "x"})
    remove_community(pool, "c0")
    assert other.wait(60) == 0
    names = {f"{letter}{number}" for letter in "ac" for number in range(5)} - {"c0"} | {"first"}
    assert tomllib.loads(pool.read_text())["communities"].keys() == names
    assert list(pool.parent.iterdir()) == [pool]


def test_an_edit_waits_for_another(pool: Path) -> None:
    done: list[float] = []

    def add() -> None:
        add_community(pool, "second", {"model": "m", "description": "x"})
        done.append(time.monotonic())

    with alone_at(pool):
        thread = threading.Thread(target=add)
        thread.start()
        thread.join(0.2)
        assert not done
    thread.join(30)
    assert done
    assert "second" in pool.read_text()


# Byte order marks, and numbers of thousands of digits


def test_marked_files_are_read(tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_bytes(b"\xef\xbb\xbfa-key-of-enough-letters\n")
    assert load_keys(keys).number("Bearer a-key-of-enough-letters") == 1
    questions = tmp_path / "questions.jsonl"
    questions.write_bytes('\ufeff{"question": "Is it\u2028so?"}\r\n{"question": "Why?"}'.encode())
    assert [each.question for each in read_questions(questions, "overton")] == ["Is it\u2028so?", "Why?"]


def test_a_number_with_thousands_of_digits_is_told_in_words_of_ours(pool: Path) -> None:
    pool.write_text(f"{POOL}\ndeadline = {DIGITS}\n")
    with pytest.raises(PoolError, match=r"pool\.toml, line 11: the number has more digits than can be read; write"):
        Pool.load(pool)
    for number in (DIGITS, "1e999"):
        with pytest.raises(AdapterError, match="a number is none or too large"):
            read_config(f'{{"peft_type": "LORA", "r": {number}, "lora_alpha": 1}}', "mine")


def test_a_limit_of_threads_may_be_nonsense(monkeypatch: pytest.MonkeyPatch) -> None:
    from modular_pluralism.llama.host import usable_cores

    for value in (DIGITS, "²", "none"):
        monkeypatch.setenv("OMP_THREAD_LIMIT", value)
        assert usable_cores() >= 1


# Names that are not UTF-8


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_task_file_whose_name_no_report_can_hold_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "caf\udce9.json"
    file.write_text("[]")
    with pytest.raises(ConfigurationError, match="has a name that is not UTF-8"):
        TaskFile.open(file)


# Names of groups


def test_groups_that_look_alike_have_names_of_their_own() -> None:
    groups = ["Espana", "España", "x" * 70, "x" * 71, "!!!", "New Zealand"]
    for prefix in (None, "mine"):
        names = _group_names(prefix, groups)
        assert len(set(names.values())) == len(groups)
        assert all(map(COMMUNITY_NAME.fullmatch, names.values()))
        assert names["New Zealand"] == ("new_zealand" if prefix is None else "mine_new_zealand")
    assert _group_names(None, groups)["x" * 70] == _group_names(None, ["x" * 70])["x" * 70]


# Full disks


FULL = Path("/dev/full")


def test_what_was_paid_for_is_printed_where_the_output_is_full(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with FULL.open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(typer.Exit) as ended:
            print_paid("an answer")
    with FULL.open("w", encoding="utf-8") as full:  # the first one has been sent elsewhere
        monkeypatch.setattr(sys, "stdout", full)
        view = TerminalView(["first"])
        view.said(COMMENT)
        view.said({**COMMENT, "community": "second"})
        view.result(find_mode("overton"), {"answer": "another answer"})
    assert ended.value.exit_code == 1
    assert view.moved
    err = capsys.readouterr().err
    assert err.count("The output cannot be written (No space left on device); it stands here instead.") == 2
    for text in ("an answer\n", "✓ first", "✓ second", "another answer"):
        assert err.count(text) == 1


async def test_an_answer_that_cannot_be_kept_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    async def running(view: TerminalView) -> dict[str, Any]:
        raise UnkeptError("The store is full.", {"answer": "an answer"})

    setup = Setup.of("overton", "rotate", {"question": "Why?"}, ("x.toml", fake_pool(("first",))), (None, PROMPTS))
    with pytest.raises(UnkeptError, match=r"^The store is full\.$"):
        await show(running, setup, "one", as_json=False, quiet=True)
    assert capsys.readouterr().out == "an answer\n"


@pytest.mark.parametrize("kept", ["nothing", "the comments"])
async def test_a_run_whose_store_fails_at_its_end_has_its_answer(kept: str) -> None:
    names = ("first", "second")
    graph = find_mode("overton").graph(fake_pool(names), models=fake_models(choosing(lambda seen: {"A": 1.0}), names))

    class Full(PlainSaver, InMemorySaver):
        def errors(self) -> AbstractContextManager[None]:
            return nullcontext()

        async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
            if checkpoint["channel_values"].get("answer" if kept == "the comments" else "question"):
                raise StoreError("The store is full.")
            return await super().aput(config, checkpoint, metadata, new_versions)

    with pytest.raises(StoreError, match="The store is full") as failed:
        await run_graph(graph, {"question": "Why?"}, TerminalView([], quiet=True), "answer", saver=Full(), thread="one")
    assert isinstance(failed.value, UnkeptError) == (kept == "the comments")
    if isinstance(failed.value, UnkeptError):
        assert failed.value.state["answer"]


# Streams and encodings: processes, since they are made as one begins


def shell(command: str, *words: str, env: dict[str, str] | None = None, cwd: Path) -> subprocess.CompletedProcess[str]:
    """What a shell makes of a command with "$@" for the package's own."""
    run = [sys.executable, "-m", "modular_pluralism", *words]
    return subprocess.run(
        ["sh", "-c", command, "sh", *run], env=os.environ | (env or {}), cwd=cwd, capture_output=True, text=True
    )


@pytest.mark.command
def test_a_closed_output_is_told_before_anything_is_asked(pool: Path) -> None:
    done = shell('"$@" >&-', "ask", "Why?", "--pool", str(pool), cwd=pool.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "Error: Standard output is closed, so nothing could be shown; send it to a file, or to /dev/null.\n"
    )


@pytest.mark.command
def test_what_is_closed_besides_does_no_harm(pool: Path) -> None:
    done = shell('"$@" 2>&- <&-', "communities", "--pool", str(pool), "--json", cwd=pool.parent)
    assert done.returncode == 0
    assert [each["name"] for each in json.loads(done.stdout)["communities"]] == ["first"]


def test_a_question_from_a_closed_input_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert told(["ask", "-"], capsys, monkeypatch) == (
        2,
        "Error: Standard input is closed, so no question can be read from it; send one, or write it out.\n",
    )


@pytest.mark.command
def test_in_the_c_locale_what_is_typed_is_read_as_the_utf_8_that_it_is(pool: Path) -> None:
    """One process for all of it: words, a folder's name, a question that is piped, behind a byte order mark."""
    folder = pool.parent / "é"
    folder.mkdir()
    pool = pool.rename(folder / "pool.toml")
    code = (
        "import sys; from modular_pluralism.__main__ import main\n"
        "def run(*words):\n"
        "    sys.argv[1:] = words\n"
        "    try: main()\n"
        "    except SystemExit as end: assert not end.code, words\n"
        "pool, described, option = sys.argv[1:]\n"
        "run('community', 'add', 'zoe', '--pool', pool, '--description', described)\n"
        "run('ask', '-', '--pool', pool, '--json', '-m', 'distributional', '-o', option, '-o', 'No')\n"
    )
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(pool), "Zoë's people", "Oùi"],
        input="\ufeffIs café good?\n".encode(),
        env=os.environ | env,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert tomllib.loads(pool.read_text())["communities"]["zoe"]["description"] == "Zoë's people"
    answer = json.loads(done.stdout[done.stdout.index(b"{") :])
    assert (answer["question"], answer["options"]) == ("Is café good?", ["Oùi", "No"])


@pytest.mark.command
@pytest.mark.parametrize("module", ["typer", "modular_pluralism.cli.app"])
def test_ctrl_c_within_an_import_is_no_traceback(module: str, tmp_path: Path) -> None:
    code = (
        "import importlib.abc, os, signal, sys\n"
        "class Finder(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from modular_pluralism.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")
