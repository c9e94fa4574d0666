"""requirements.lock holds what pyproject.toml wants, each file by its hash, and the set-up installs nothing else."""

from __future__ import annotations

import os
import runpy
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
SCRIPT: dict[str, Any] = runpy.run_path(str(ROOT / "install" / "environment.py"))


def pins(wanted: str) -> dict[str, Requirement]:
    lines = (block.splitlines()[1].removesuffix(" \\") for block in SCRIPT["_block_texts"](wanted))
    return {canonicalize_name(each.name): each for each in map(Requirement, lines)}


@pytest.mark.parametrize("wanted", ["demo", "dev", "docs", "build", "lock"])
def test_the_lock_holds_what_is_wanted(wanted: str) -> None:
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, groups = tables["project"], tables["dependency-groups"]
    extras = project["optional-dependencies"]
    texts = groups[wanted] if wanted in groups else [*project["dependencies"], *extras[wanted]]
    needs = [Requirement(text) for text in texts]
    ours = [extra for each in needs if each.name == project["name"] for extra in each.extras]
    needs += [Requirement(text) for extra in ours for text in extras[extra]]
    locked = pins(wanted)
    for each in needs:
        if each.name != project["name"]:
            name = canonicalize_name(each.name)
            assert name in locked, f"run `make lock`: {name}"
            version = next(iter(locked[name].specifier)).version
            assert each.specifier.contains(version), f"run `make lock`: {each}"


def test_every_package_of_the_lock_is_of_some_extra_or_group_and_has_hashes() -> None:
    lines = SCRIPT["LOCK"].read_text().splitlines()
    packages = [line for line in lines if line and line[0] not in "# "]
    blocks = {block for wanted in ("demo", "dev", "docs", "build", "lock") for block in SCRIPT["_block_texts"](wanted)}
    assert len(blocks) == len(packages) > 300
    assert all(line.startswith(("# ", "    --hash=sha256:")) or "==" in line for line in lines)


def test_a_file_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "some_thing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some_thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: some-thing\nVersion: 1.0\n")
        wheel.writestr(
            "some_thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("some_thing-1.0.dist-info/RECORD", "")
    monkeypatch.setitem(SCRIPT["_pip"].__globals__, "LOG", tmp_path / "install.log")
    (tmp_path / "install.log").write_text("")
    block = f"# dev\nsome-thing==1.0 \\\n    --hash=sha256:{'0' * 64}\n"
    places = ["--no-index", "--find-links", str(tmp_path), "--target", str(tmp_path / "site")]
    with pytest.raises(SCRIPT["InstallError"], match=r"some-thing is not the file whose hash requirements\.lock holds"):
        SCRIPT["_locked"]("Trying", [block], places, dict(os.environ))
    assert not (tmp_path / "site").exists() or not any((tmp_path / "site").iterdir())


def test_pytorch_for_processors_is_taken_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SCRIPT["_pip"].__globals__, "LOG", tmp_path / "install.log")
    (tmp_path / "install.log").write_text("")
    block = f"# dev, processors\nno-such-thing==1.0+cpu \\\n    --hash=sha256:{'0' * 64}\n"
    SCRIPT["_torch_for_processors"]([block], {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)})
    assert "the build of the common index is taken" in capsys.readouterr().err
    builds = [name for name in SCRIPT["_block_texts"]("dev") if "\ntorch==" in name]
    assert ["processors" in SCRIPT["_words"](build) for build in builds] == ["+cpu" in build for build in builds]
    assert len(builds) == 2
