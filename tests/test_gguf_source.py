"""Where weights come from: a path, an installed package, the Hugging Face hub."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.models.gguf_source import find_gguf


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that must not be imported, with weights inside."""
    folder = tmp_path / "site" / "weights_of_nobody"
    (folder / "small").mkdir(parents=True)
    for each in (folder, folder / "small"):
        (each / "__init__.py").write_text("raise RuntimeError('imported')")
        (each / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("weights_of_nobody/model.gguf", "model.gguf"),
        ("weights_of_nobody/small/model.gguf", "small/model.gguf"),
        ("weights_of_nobody.small/model.gguf", "small/model.gguf"),
    ],
)
def test_a_package_is_found_without_importing_it(package: Path, name: str, file: str) -> None:
    assert find_gguf(f"package:{name}") == (package / file).resolve()
    assert not [module for module in sys.modules if module.startswith("weights_of_nobody")]


@pytest.mark.parametrize("name", ["no_such_package/x.gguf", "json.decoder_/x", "__main__/x.gguf", "no-name/x", "/x"])
def test_a_missing_package_is_named_with_what_to_install(name: str) -> None:
    with pytest.raises(ModelLoadError) as caught:
        find_gguf(f"package:{name}")
    message = str(caught.value)
    assert message.startswith(f"package:{name} needs" if not name.startswith("json") else "The package 'json.decoder_'")
    assert message.endswith("in the pool file.")


@pytest.mark.parametrize("file", ["other.gguf", "", "small"])
def test_a_missing_file_in_a_package_is_named(package: Path, file: str) -> None:
    with pytest.raises(ModelLoadError, match=rf"^The package 'weights_of_nobody' has no file '{file}'; check the name"):
        find_gguf(f"package:weights_of_nobody/{file}")


def test_a_module_that_is_no_package_has_no_files() -> None:
    with pytest.raises(ModelLoadError, match="'this'"):
        find_gguf("package:this/model.gguf")


def test_a_path_is_relative_to_the_pool(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert find_gguf("model.gguf", tmp_path) == (tmp_path / "model.gguf").resolve()
    assert find_gguf(str(tmp_path / "model.gguf"), Path("/elsewhere")) == (tmp_path / "model.gguf").resolve()


def test_a_path_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert find_gguf("~/model.gguf", Path("/elsewhere")) == (tmp_path / "model.gguf").resolve()
    with pytest.raises(ModelLoadError, match="begins with no user's home folder"):
        find_gguf("~nobody-of-that-name/model.gguf")


def test_a_missing_file_and_a_folder_are_told_with_their_full_path(tmp_path: Path) -> None:
    (tmp_path / "folder.gguf").mkdir()
    for name in ("none.gguf", "folder.gguf"):
        with pytest.raises(ModelLoadError) as caught:
            find_gguf(name, tmp_path)
        assert str(caught.value) == f"There is no file {tmp_path / name}; check the path in the pool file."


def test_a_hub_file_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def download(**wanted: Any) -> str:
        asked.append(wanted)
        return str(tmp_path / "cached.gguf")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert find_gguf("hf:owner/repo/folder/model.gguf") == tmp_path / "cached.gguf"
    assert asked == [{"repo_id": "owner/repo", "filename": "folder/model.gguf"}]


def test_a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(**wanted: Any) -> str:
        raise OSError("token hf_secret was refused at https://hub.example")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(ModelLoadError) as caught:
        find_gguf("hf:owner/repo/model.gguf")
    assert str(caught.value) == (
        "hf:owner/repo/model.gguf could not be downloaded (OSError); check the name and the network, or point the "
        "pool file to a local file."
    )


@pytest.mark.parametrize("name", ["owner/repo", "owner", "owner/repo/", "//model.gguf", ""])
def test_an_incomplete_hub_name_is_refused_before_any_download(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda **_: pytest.fail("downloaded"))
    with pytest.raises(ModelLoadError, match=r"is not complete; write it as hf:OWNER/REPO/FILE\.gguf\.$"):
        find_gguf(f"hf:{name}")
