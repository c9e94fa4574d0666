"""The tree of errors: what its text says is what the classes are."""

from __future__ import annotations

import inspect
import pickle
import re
from pathlib import Path

import pytest

from modular_pluralism import errors
from modular_pluralism.errors import (
    ConfigurationError,
    ModelCallError,
    NoLogProbabilitiesError,
    NoUsableReplyError,
    PluralismError,
    UnkeptError,
)
from modular_pluralism.models.calls import is_transient

ROOT = Path(__file__).parents[1]


def classes() -> dict[str, type[PluralismError]]:
    return {
        name: each for name, each in vars(errors).items() if inspect.isclass(each) and issubclass(each, PluralismError)
    }


def written() -> dict[str, str | None]:
    """Each error of the docstring's tree with the one that it stands below."""
    above: dict[int, str] = {}
    tree: dict[str, str | None] = {}
    for indent, name in re.findall(r"^    ([│├└─ ]*)(\w+Error)\b", str(errors.__doc__), re.MULTILINE):
        depth = len(indent) // 4
        above[depth] = name
        tree[name] = above[depth - 1] if depth else None
    return tree


def test_the_tree_on_top_is_the_tree_of_the_classes() -> None:
    tree = {name: str(getattr(each.__base__, "__name__", "")) for name, each in classes().items()}
    assert written() == tree | {"PluralismError": None}


def test_only_configuration_errors_end_a_command_with_2() -> None:
    for each in classes().values():
        assert getattr(each, "exit_code") == (2 if issubclass(each, ConfigurationError) else 1)  # noqa: B009
        assert each is PluralismError or each is ConfigurationError or "exit_code" not in vars(each)


@pytest.mark.parametrize("folder", ["graphs", "modular_pluralism", "nodes", "prompts"])
def test_every_error_raised_on_purpose_is_in_the_file_of_errors(folder: str) -> None:
    derived = re.compile(rf"^\s*class \w+\((?:.*\W)?(?:{'|'.join(classes())})\b", re.MULTILINE)
    files = [path for path in (ROOT / folder).rglob("*.py") if path != Path(errors.__file__)]
    assert files
    assert [path for path in files if derived.search(path.read_text("utf-8"))] == []


@pytest.mark.parametrize("error", [NoLogProbabilitiesError("none"), ModelCallError("no reply")])
def test_what_the_package_raises_on_purpose_is_never_tried_again(error: PluralismError) -> None:
    assert not is_transient(error)


def test_an_error_comes_from_another_process_as_it_was() -> None:
    found = pickle.loads(pickle.dumps(NoUsableReplyError("None.", 3, "no JSON")))
    assert (type(found), str(found), found.replies, found.problem) == (NoUsableReplyError, "None.", 3, "no JSON")
    kept = pickle.loads(pickle.dumps(UnkeptError("Full.", {"answer": "Yes"})))
    assert (str(kept), kept.state) == ("Full.", {"answer": "Yes"})
    for each in classes().values():
        assert isinstance(pickle.loads(pickle.dumps(each.__new__(each, "Why."))), each)


def test_a_model_that_cannot_score_is_no_failed_call() -> None:
    """A failed call is survived as a community that is missing; a scoring that the model lacks would fail each time."""
    assert not issubclass(NoLogProbabilitiesError, ModelCallError)
    assert issubclass(NoLogProbabilitiesError, ConfigurationError)
