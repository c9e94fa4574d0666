"""A file that appears whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from modular_pluralism.replaced_file import replaced_file


def test_the_new_file_takes_the_place_of_the_old_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.json"
    for text in ("first", "zweitens: ä\n"):
        with replaced_file(path) as file:
            file.write(text)
            assert not path.exists() or path.read_text() == "first"
            (part,) = (each for each in path.parent.iterdir() if each != path)
        assert path.read_bytes() == text.encode()
        assert not part.exists()
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode), "readable by whom files are"


def test_who_may_read_and_write_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "pool.toml"
    path.touch(0o640)
    path.chmod(0o640)
    with replaced_file(path) as file:
        file.write("new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text("old")

    def stopped() -> None:
        with replaced_file(path) as file:
            file.write("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    with pytest.raises(UnicodeEncodeError), replaced_file(path) as file:
        file.write("\ud800")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["figures.json"]


def test_a_folder_in_its_place_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "figures.json").mkdir()
    with pytest.raises(IsADirectoryError), replaced_file(tmp_path / "figures.json") as file:
        file.write("new")
    assert [each.name for each in tmp_path.iterdir()] == ["figures.json"]


def test_a_name_as_long_as_names_can_be(tmp_path: Path) -> None:
    with replaced_file(tmp_path / ("n" * 255)) as file:
        file.write("new")
    assert (tmp_path / ("n" * 255)).read_text() == "new"
