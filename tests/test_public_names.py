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


def test_type_checkers_see_every_public_name() -> None:
    stub = ast.parse(Path(modular_pluralism.__file__).with_suffix(".pyi").read_text("utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    for node in imports:
        for name in node.names:
            assert name.asname == name.name, "without an alias type checkers take it for private"
    assert {name.name for node in imports for name in node.names} == {*modular_pluralism.__all__} - {"__version__"}


@pytest.mark.parametrize("name", modular_pluralism.__all__)
def test_every_public_name_can_be_imported_and_is_explained(name: str) -> None:
    value = getattr(modular_pluralism, name)
    assert name in dir(modular_pluralism)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__doc__


def test_the_errors_and_the_vocabulary_are_all_public() -> None:
    imported = {"Any", "NotRequired", "Literal", "TypedDict", "annotations"}
    own = {name for module in (errors, types) for name in vars(module) if not name.startswith("_")} - imported
    assert own > {"PluralismError", "Mode"}
    assert own <= set(modular_pluralism.__all__)


def test_another_name_is_told_as_python_does() -> None:
    with pytest.raises(AttributeError, match="'modular_pluralism' has no attribute 'build_nothing'"):
        modular_pluralism.build_nothing  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name"):
        from modular_pluralism import build_nothing  # type: ignore[attr-defined]  # noqa: F401


def test_help_and_light_names_load_neither_langgraph_nor_llama() -> None:
    code = (
        "import sys, contextlib, modular_pluralism\n"
        "from modular_pluralism import Mode, PluralismError\n"
        "from modular_pluralism.cli.app import app\n"
        "with contextlib.suppress(SystemExit):\n    app(['--help'])\n"
        "heavy = {'langgraph', 'langchain_core', 'llama_cpp', 'pydantic', 'numpy', 'rich', 'asyncio'}\n"
        "heavy = heavy & set(sys.modules) or {name for name in sys.modules if name.endswith('cli.ask')}\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
