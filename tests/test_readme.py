"""Every command and every snippet of the README and the documents works as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modular_pluralism import Pool
from modular_pluralism.graphs.parts import Parts
from modular_pluralism.modes import modes
from tests.command import pluralism, python

REPOSITORY = Path(__file__).resolve().parents[1]
COVERED = ("make demo", "make test", "pip install .")  # below, by running this, and by the packaging test
TEXT = "\n".join(file.read_text() for file in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    told = [line.split("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
    return list(dict.fromkeys(told))


def test_there_is_something_to_test() -> None:
    assert {"make demo", "make test"} <= set(commands())
    assert len(blocks("python")) >= 3
    assert blocks("toml")


@pytest.mark.model
@pytest.mark.usefixtures("model_cache")  # which is empty, as a new reader's is
def test_the_demo_answers_in_every_mode_of_the_paper() -> None:
    done = subprocess.run(["make", "demo"], cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    for mode in modes().values():
        assert (f" {mode.title} " in done.stdout) is not mode.takes.choose, "which takes too long for a demo"
    assert "Attribute: a quiet night" in done.stdout
    # The communities differ because the people did: two groups are for it, and one is against.
    shares = {
        name: float(share) for name, share in re.findall(r"^(group_[abc]) +\S+ +([\d.]+)%", done.stdout, re.MULTILINE)
    }
    assert min(shares["group_a"], shares["group_b"]) > 60 > 40 > shares["group_c"]


@pytest.mark.documents
@pytest.mark.parametrize("command", [each for each in commands() if each not in COVERED])
def test_command(command: str) -> None:
    words = shlex.split(command)
    if words[1] == "eval":  # not what an earlier version left there
        shutil.rmtree(REPOSITORY / "out" / "example_task", ignore_errors=True)
    if "--out" in words:
        shutil.rmtree(REPOSITORY / words[words.index("--out") + 1], ignore_errors=True)
    if words[0] == "pluralism":
        done = pluralism(*words[1:], cwd=REPOSITORY)
    else:
        words[0] = str(Path(sys.executable).with_name(words[0]))
        done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout.strip()


@pytest.mark.documents
@pytest.mark.parametrize("snippet", blocks("python"))
def test_python_snippet(snippet: str, tmp_path: Path) -> None:
    done = python(snippet, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("snippet", [block for block in blocks("toml") if "[communities." in block])
def test_pool_snippet(snippet: str, tmp_path: Path) -> None:
    (tmp_path / "farmers.md").write_text("You are a farmer.")
    pool = Pool.from_toml(snippet, source="README.md", folder=tmp_path)
    assert Parts(pool, None, None).communities == list(pool.communities)
