"""What is importable from the package's root, and what that costs."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import modular_pluralism
from modular_pluralism import errors, types


def for_type_checkers() -> dict[str, str]:
    """Each name that the block for type checkers imports, with its module."""
    tree = ast.parse(Path(modular_pluralism.__file__).read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module is not None
        for name in node.names:
            assert name.asname == name.name, "without an alias type checkers take it for private"
            found[name.name] = node.module
    return found


def test_type_checkers_see_what_is_there_at_run_time() -> None:
    at_run_time = {name: f"modular_pluralism.{module}" for name, module in modular_pluralism._MODULE_OF.items()}
    assert for_type_checkers() == at_run_time


@pytest.mark.parametrize("name", modular_pluralism.__all__)
def test_every_public_name_can_be_imported_and_is_explained(name: str) -> None:
    value = getattr(modular_pluralism, name)
    assert name in dir(modular_pluralism)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__doc__


def test_the_errors_and_the_vocabulary_are_all_public() -> None:
    imported = {"Literal", "TypedDict", "annotations"}
    own = {name for module in (errors, types) for name in vars(module) if not name.startswith("_")} - imported
    assert own > {"PluralismError", "Mode"}
    assert own <= set(modular_pluralism.__all__)


def test_another_name_is_told_as_python_does() -> None:
    with pytest.raises(AttributeError, match="'modular_pluralism' has no attribute 'build_nothing'"):
        modular_pluralism.build_nothing  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name"):
        from modular_pluralism import build_nothing  # noqa: F401


def test_help_and_light_names_load_neither_langgraph_nor_llama() -> None:
    code = (
        "import sys, contextlib, modular_pluralism\n"
        "from modular_pluralism import Mode, PluralismError\n"
        "from modular_pluralism.cli.app import app\n"
        "with contextlib.suppress(SystemExit):\n    app(['--help'])\n"
        "heavy = {'langgraph', 'langchain_core', 'llama_cpp', 'pydantic', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
