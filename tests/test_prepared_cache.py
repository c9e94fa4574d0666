"""What the cache of prepared models gives back, and what it refuses to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modular_pluralism.errors import InputError, PreparationError
from modular_pluralism.home import CACHE_VARIABLE
from modular_pluralism.prepared import cache, entry
from modular_pluralism.prepared.cache import everything, find_entry, prepared_file, remove, remove_all
from modular_pluralism.prepared.choice import ChosenFormat
from modular_pluralism.prepared.formats import SourceFile
from modular_pluralism.prepared.prepare import make_entry, prepared_name
from tests.measurements import measured

pytestmark = pytest.mark.usefixtures("model_cache")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model file, as far as the cache can tell."""
    path = tmp_path / "small.Q4_1.gguf"
    path.write_bytes(b"GGUF, the original")
    return path


def put(source: Path, name: str = "BF16", content: bytes = b"GGUF, rewritten") -> Path:
    """Store a prepared file; "Q4_1" keeps the original."""
    original = measured("Q4_1", [10], kl=None)
    chosen = original if name == "Q4_1" else measured(name, [5]).model_copy(update={"bytes": len(content)})
    file = SourceFile("Q4_1", source.stat().st_size, 10, 5)
    with cache.workplace() as work:
        made = make_entry(source, file, [original, chosen], ChosenFormat(chosen, "it is fast"))
        (work / prepared_name(source, name)).write_bytes(content)
        return cache.store(made, source, work)


def test_an_empty_cache_has_nothing(source: Path) -> None:
    assert prepared_file(source) is None
    assert everything() == []
    assert remove_all() == []


def test_a_stored_file_is_found_under_a_name_that_tells_what_it_is(source: Path, model_cache: Path) -> None:
    folder = put(source)
    found = prepared_file(source)
    assert found == folder / "small.Q4_1.as-BF16.gguf"
    assert found.read_bytes() == b"GGUF, rewritten"
    assert [path.name for path in model_cache.iterdir()] == [folder.name]
    (listed,) = everything()
    assert listed.problem is None
    assert listed.entry == find_entry(source)
    assert listed.bytes > 0


def test_it_is_found_by_any_path_to_the_same_file(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(source)
    monkeypatch.chdir(tmp_path)
    assert prepared_file(Path(source.name)) == prepared_file(source)


def test_the_original_may_be_found_best(source: Path) -> None:
    put(source, "Q4_1")
    assert prepared_file(source) is None
    found = find_entry(source)
    assert found is not None
    assert found.format == "Q4_1"


def test_only_formats_that_repeat_are_exact(source: Path) -> None:
    put(source, "BF16")
    assert prepared_file(source, exact=True) is None
    folder = put(source, "Q8_0")
    assert prepared_file(source, exact=True) == folder / "small.Q4_1.as-Q8_0.gguf"


def test_the_cache_may_be_the_first_thing_that_is_imported() -> None:
    """llama.cpp's threads wait patiently all the same, which they can only be told before it is loaded."""
    code = "import os, modular_pluralism.prepared.cache; print(os.environ['GOMP_SPINCOUNT'])"
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("GOMP_", "OMP_"))}
    done = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 0


def test_a_newer_entry_takes_the_place_of_an_older_one(source: Path) -> None:
    put(source, "BF16")
    folder = put(source, "Q8_0")
    assert prepared_file(source) == folder / "small.Q4_1.as-Q8_0.gguf"
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "small.Q4_1.as-Q8_0.gguf"}
    put(source, "Q4_1")
    assert prepared_file(source) is None
    assert {path.name for path in folder.iterdir()} == {"manifest.json"}


def _change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


SPOILT: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "source of another size": (lambda source, _: source.write_bytes(b"GGUF"), "the original has changed"),
    "source gone": (lambda source, _: source.unlink(), "the original is gone"),
    "manifest cut off": (
        lambda _, folder: (folder / "manifest.json").write_text('{"version": 1,'),
        "its manifest cannot be read",
    ),
    "manifest gone": (lambda _, folder: (folder / "manifest.json").unlink(), "its manifest cannot be read"),
    "manifest of a later version": (
        lambda _, folder: _change_manifest(folder, lambda data: data.update(version=2)),
        "its manifest cannot be read",
    ),
    "file gone": (lambda _, folder: (folder / "small.Q4_1.as-BF16.gguf").unlink(), "its file is gone"),
    "file cut off": (lambda _, folder: (folder / "small.Q4_1.as-BF16.gguf").write_bytes(b"GG"), "its file is damaged"),
    "file elsewhere": (
        lambda source, folder: _change_manifest(folder, lambda data: data.update(file=f"../../../{source.name}")),
        "its manifest names a file elsewhere",
    ),
    "other processor": (
        lambda _, folder: _change_manifest(folder, lambda data: data.update(processor="a much larger one")),
        "measured on another processor",
    ),
    "other llama.cpp": (
        lambda _, folder: _change_manifest(folder, lambda data: data.update(llama_cpp_python="0.0.1")),
        "measured with llama-cpp-python 0.0.1, and this is ",
    ),
}


@pytest.mark.parametrize("how", SPOILT)
def test_what_does_not_fit_is_listed_but_not_used(source: Path, how: str) -> None:
    spoil, problem = SPOILT[how]
    folder = put(source)
    spoil(source, folder)
    assert prepared_file(source) is None
    assert find_entry(source) is None
    (listed,) = everything()
    assert listed.name == folder.name
    assert (listed.problem or "").startswith(problem)
    assert remove_all() == [listed]
    assert everything() == []


def test_a_source_with_the_same_size_and_another_content_is_noticed(source: Path) -> None:
    put(source)
    source.write_bytes(source.read_bytes()[::-1])
    os.utime(source, ns=(0, 0))
    assert prepared_file(source) is None
    assert everything()[0].problem == "the original has changed"


def test_an_unchanged_source_with_another_time_is_hashed_once(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(source)
    hashed: list[Path] = []
    real = entry.file_hash

    def file_hash(path: Path) -> str:
        hashed.append(path)
        return real(path)

    monkeypatch.setattr(entry, "file_hash", file_hash)
    assert prepared_file(source)
    assert hashed == []
    os.utime(source, ns=(1, 1))
    assert prepared_file(source)
    assert prepared_file(source)
    assert hashed == [source.resolve()]


def test_two_models_of_one_name_have_an_entry_each(source: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / source.name
    other.parent.mkdir()
    other.write_bytes(b"GGUF, another")
    put(source)
    put(other, "Q8_0")
    first, second = everything()
    assert {prepared_file(source), prepared_file(other)} == {
        each.folder / (each.entry.file or "") for each in (first, second) if each.entry is not None
    }
    with pytest.raises(InputError, match="more than one entry"):
        remove("small.Q4_1")
    assert remove(first.name) == first
    assert remove("small.Q4_1") == second
    with pytest.raises(InputError, match="no entry named 'small'; it has nothing"):
        remove("small")


def test_whatever_ends_the_work_nothing_unfinished_stays(source: Path, model_cache: Path) -> None:
    put(source)
    before = prepared_file(source)
    for error in (KeyboardInterrupt, PreparationError):
        with pytest.raises(error), cache.workplace() as work:  # noqa: PT012
            (work / "half.gguf").write_bytes(b"GG")
            assert prepared_file(source) == before
            raise error
    assert [path.name for path in model_cache.iterdir()] == [everything()[0].name]
    assert prepared_file(source) == before


def test_what_a_killed_process_left_is_cleared_away_after_a_day(model_cache: Path) -> None:
    left = model_cache / "unfinished-abc"
    left.mkdir(parents=True)
    assert everything() == []  # somebody may be writing it
    day_before_yesterday = time.time() - 2 * 24 * 3600
    os.utime(left, (day_before_yesterday, day_before_yesterday))
    assert [each.problem for each in everything()] == ["was never finished"]
    with cache.workplace():
        assert not left.exists()


def test_the_folder_can_be_chosen_and_otherwise_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "mine"))
    assert cache.cache_folder() == tmp_path / "mine" / "prepared"
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache.cache_folder().is_relative_to(tmp_path)
    assert "modular-pluralism" in cache.cache_folder().parts


def test_a_folder_that_cannot_be_written_is_told_and_else_ignored(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    assert prepared_file(source) is None
    assert everything() == []
    with pytest.raises(
        PreparationError, match=rf"Nothing can be written in .*; name another folder in {CACHE_VARIABLE}"
    ):
        put(source)


def test_files_of_others_in_the_same_folder_are_left_alone(source: Path, model_cache: Path) -> None:
    put(source)
    (model_cache / "notes.txt").write_text("mine")
    remove_all()
    assert [path.name for path in model_cache.iterdir()] == ["notes.txt"]
