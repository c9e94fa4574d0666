"""What the docstrings of the public API say is so: their arguments are the real ones, and their examples run."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import modular_pluralism
from modular_pluralism.llama import close_engines
from modular_pluralism.modes import modes
from tests.random_model import RANDOM_GGUF

EMBEDDING = (Path(__file__).parents[1] / "docs" / "embedding.md").read_text("utf-8")
NEEDS_A_MODEL = {"ChatLlama", "LlamaEmbeddings"}


def public() -> dict[str, Any]:
    return {name: getattr(modular_pluralism, name) for name in modular_pluralism.__all__}


def documented() -> Iterator[tuple[str, Any]]:
    """Public functions, classes and their methods that have sections of arguments or examples."""
    for name, value in public().items():
        if inspect.isfunction(value) or inspect.isclass(value):
            yield name, value
        if inspect.isclass(value):
            for method in (method for method in vars(value) if not method.startswith("_")):
                found = getattr(value, method)
                if callable(found) and re.search(r"^\s*(Args|Example):", found.__doc__ or "", re.MULTILINE):
                    yield f"{name}.{method}", found


DOCUMENTED = dict(documented())
FUNCTIONS = [name for name, value in DOCUMENTED.items() if inspect.isfunction(value)]
EXAMPLES = {
    f"{name}:{number}": textwrap.dedent(code)
    for name, value in DOCUMENTED.items()
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", inspect.getdoc(value) or "", re.DOTALL))
}


def section(doc: str, title: str) -> str:
    found = re.search(rf"^{title}:\n((?:    .*\n|\n)*)", f"{doc}\n", re.MULTILINE)
    return found[1] if found else ""


def parameters(value: Any) -> list[str]:
    if inspect.isclass(value) and issubclass(value, BaseModel):
        return list(value.model_fields)
    return [name for name in inspect.signature(value).parameters if name != "self"]


@pytest.mark.parametrize(
    "name", [name for name in DOCUMENTED if section(inspect.getdoc(DOCUMENTED[name]) or "", "Args")]
)
def test_documented_arguments_are_the_real_ones_in_their_order(name: str) -> None:
    doc = inspect.getdoc(DOCUMENTED[name]) or ""
    assert re.findall(r"^    (\w+): ", section(doc, "Args"), re.MULTILINE) == parameters(DOCUMENTED[name])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_tells_its_arguments_its_result_and_an_example(name: str) -> None:
    doc, function = inspect.getdoc(DOCUMENTED[name]) or "", DOCUMENTED[name]
    assert bool(section(doc, "Args")) == bool(parameters(function))
    assert bool(section(doc, "Returns")) == (inspect.signature(function).return_annotation != "None")
    assert "```python" in section(doc, "Example") or "." in name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_that_are_told_are_public_classes(name: str) -> None:
    raises = section(inspect.getdoc(DOCUMENTED[name]) or "", "Raises")
    for error in re.findall(r"\w+", " ".join(re.findall(r"^    ([A-Z][\w, ]*): ", raises, re.MULTILINE))):
        assert issubclass(getattr(modular_pluralism, error), modular_pluralism.PluralismError)


def run(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("modular_pluralism.modes._modes", dict(modes()))  # an example may add one
    exec(compile(code, "example", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.split(":")[0] not in NEEDS_A_MODEL])
def test_an_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(EXAMPLES[name], tmp_path, monkeypatch)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.split(":")[0] in NEEDS_A_MODEL])
def test_an_example_with_a_model_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.gguf").symlink_to(RANDOM_GGUF)
    run(EXAMPLES[name], tmp_path, monkeypatch)
    close_engines()


def test_the_guide_to_embedding_names_what_is_public() -> None:
    tables = EMBEDDING.partition("## What is importable")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", tables))
    errors = {name for name, value in public().items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert set(public()) - errors - {"__version__"} <= named


def test_the_guide_to_embedding_says_which_builder_takes_what() -> None:
    (said,) = re.findall(r"^Every builder takes (.*), and beside them:$", EMBEDDING, re.MULTILINE)
    rows = dict(re.findall(r"^\| `(build_\w+)` \|(.*)\|$", EMBEDDING, re.MULTILINE))
    assert set(rows) == {name for name in public() if name.startswith("build_")}
    for name, row in rows.items():
        taken = set(parameters(public()[name]))
        if "more" in taken:  # for another builder, which takes the rest
            taken = taken - {"more"} | {"into"}
        assert set(re.findall(r"`(\w+)`", said + row)) == taken


def test_every_function_and_the_classes_that_people_make_have_an_example() -> None:
    have = {name.split(":")[0] for name in EXAMPLES}
    functions = {name for name, value in public().items() if inspect.isfunction(value)}
    assert functions | {"ChatLlama", "NodeCache", "PluralismError", "Pool", "PoolModels", "Prompt"} <= have
