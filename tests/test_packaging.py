"""What `pip install .` gives to users: one top-level name, complete and typed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Built from a copy, as setuptools leaves its build folder in the source tree.
    source = folder / "source"
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(source)], check=True)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--wheel-dir",
            str(folder),
            str(source),
        ],
        check=True,
    )
    return next(folder.glob("*.whl"))


def test_no_other_top_level_name_is_installed(wheel: Path) -> None:
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"modular_pluralism"}


def test_prompts_pools_and_types_are_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, pattern in (
        ("prompts", "*.txt"),
        ("prompts/completion", "*.txt"),
        ("prompts/personas", "*.md"),
        ("modular_pluralism/pools", "*.toml"),
        ("modular_pluralism/prepared", "*.txt"),
        ("modular_pluralism/evaluation/data", "*.csv"),
        ("modular_pluralism/evaluation/report", "*.jinja"),
        ("modular_pluralism/evaluation/report", "*.css"),
        ("modular_pluralism/prompt_trials", "*.jinja"),
        ("modular_pluralism/prompt_trials", "*.css"),
        ("modular_pluralism/prompt_trials", "*.js"),
        ("modular_pluralism/training", "*.jinja"),
        ("modular_pluralism/debugger", "*.jinja"),
        ("modular_pluralism/debugger/page", "*.css"),
    ):
        files = list((REPOSITORY / folder).glob(pattern))
        assert files
        inside = folder if folder.startswith("modular_pluralism") else f"modular_pluralism/{folder}"
        assert {f"{inside}/{file.name}" for file in files} <= names
    assert {"modular_pluralism/py.typed", "modular_pluralism/__init__.pyi"} <= set(names)


def test_the_installed_package_can_be_imported_from_anywhere(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)], check=True
    )
    code = (
        "from modular_pluralism import Pool, build_overton\n"
        "import modular_pluralism\n"
        "print(modular_pluralism.__file__)\n"
        "print(len(build_overton(Pool.load('mixed')).compile().get_graph().nodes))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    file, nodes = done.stdout.split()
    assert Path(file).is_relative_to(site)
    assert int(nodes) == 11 + 4  # the communities; start, check, merge, end
