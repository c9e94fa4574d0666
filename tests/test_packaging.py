"""What `pip install .` gives to users: one top-level name, complete and typed."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]
NOT_OURS = {"opentelemetry": "spans are written where an application has it"}


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
        ("modular_pluralism/records", "*.csv"),
        ("modular_pluralism/evaluation/report", "*.jinja"),
        ("modular_pluralism/evaluation/report", "*.css"),
        ("modular_pluralism/prompt_trials", "*.jinja"),
        ("modular_pluralism/prompt_trials", "*.css"),
        ("modular_pluralism/prompt_trials", "*.js"),
        ("modular_pluralism/training", "*.jinja"),
        ("modular_pluralism/debugger", "*.jinja"),
        ("modular_pluralism/debugger", "*.js"),
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


def imported(path: Path) -> Iterator[str]:
    """The top-level names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_what_is_imported_is_declared() -> None:
    """What comes with another package today may not come with it tomorrow."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    of_users = [each for name, each in project["optional-dependencies"].items() if name not in ("dev", "docs")]
    declared = {canonicalize_name(Requirement(each).name) for each in sum(of_users, project["dependencies"])}
    files = [
        path
        for folder in ("graphs", "nodes", "prompts", "modular_pluralism")
        for path in (REPOSITORY / folder).rglob("*.py")
    ]
    used = {name for path in files for name in imported(path)} - {
        *sys.stdlib_module_names,
        "modular_pluralism",
        *NOT_OURS,
    }
    brought = packages_distributions()
    missing = {name for name in used if not declared & set(map(canonicalize_name, brought.get(name, [])))}
    assert not missing
    assert "tenacity" in used
