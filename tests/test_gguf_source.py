"""Where weights come from: a path, a folder, an installed package, the Hugging Face hub, Ollama."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.llama.gguf_parts import PartName, parts, real_path, size_of
from modular_pluralism.llama.gguf_source import find_gguf
from modular_pluralism.llama.hub_files import choose_file
from tests.hub_server import hub
from tests.model_stores import write_hub_cache, write_ollama


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
    assert message.endswith(("name another GGUF.", "check the name after its slash."))


@pytest.mark.parametrize("file", ["other.gguf", "", "small", "../outside.gguf", "link.gguf"])
def test_a_missing_file_in_a_package_is_named(package: Path, file: str) -> None:
    (package.parent / "outside.gguf").write_bytes(b"GGUF")
    (package / "link.gguf").symlink_to(package.parent / "outside.gguf")
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
    with pytest.raises(ModelLoadError, match="no user 'nobody-of-that-name' has a home folder here"):
        find_gguf("~nobody-of-that-name/model.gguf")


def test_a_missing_file_is_told_with_its_full_path(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError) as caught:
        find_gguf("none.gguf", tmp_path)
    assert str(caught.value) == f"There is no file {tmp_path / 'none.gguf'}; check the path."


def test_a_name_that_no_file_can_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"^/.*/xx+ cannot be looked at \(File name too long\); check the path"):
        find_gguf("x" * 400, tmp_path)


def write(folder: Path, *names: str) -> Path:
    """A folder with files of these names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"GGUF " + name.encode())
    return folder


SPLIT = tuple(f"m-Q4_K_M-0000{number}-of-00003.gguf" for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (("m.gguf", "README.md"), "m.gguf"),
        (("m.gguf", "mmproj-m.gguf"), "m.gguf"),
        ((*SPLIT, "mmproj-model-f16.gguf"), SPLIT[0]),
    ],
)
def test_a_folder_with_one_model_names_it(tmp_path: Path, files: tuple[str, ...], found: str) -> None:
    """As LM Studio has one for each repository."""
    write(tmp_path / "publisher" / "repo", *files)
    assert find_gguf("publisher/repo", tmp_path) == tmp_path / "publisher" / "repo" / found


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ((), "holds no .gguf file; name the file itself."),
        (("m-Q8_0.gguf", "m-Q4_0.gguf"), "holds m-Q4_0.gguf, m-Q8_0.gguf; name one of these files."),
    ],
)
def test_a_folder_without_one_model_tells_what_there_is(tmp_path: Path, files: tuple[str, ...], told: str) -> None:
    folder = write(tmp_path / "folder.gguf", *files)
    with pytest.raises(ModelLoadError) as caught:
        find_gguf("folder.gguf", tmp_path)
    assert str(caught.value) == f"The folder {folder} {told}"


def test_a_folder_of_the_hubs_cache_tells_how_to_name_its_model(tmp_path: Path) -> None:
    write_hub_cache(tmp_path, "owner/repo", [])
    with pytest.raises(ModelLoadError, match=r"write hf:owner/repo instead\.$"):
        find_gguf("models--owner--repo", tmp_path)


def test_parts_of_a_split_model_in_the_hubs_cache_keep_their_names(tmp_path: Path) -> None:
    snapshot = write_hub_cache(tmp_path / "hub", "o/r", [write(tmp_path, *SPLIT) / name for name in SPLIT])
    found = find_gguf(str(snapshot / SPLIT[0]))
    assert found == snapshot / SPLIT[0]
    assert parts(found) == [snapshot / name for name in SPLIT]
    assert size_of(found) == sum((tmp_path / name).stat().st_size for name in SPLIT)
    assert real_path(found) == found != found.resolve()


def test_a_link_to_the_first_part_finds_the_others(tmp_path: Path) -> None:
    folder = write(tmp_path / "models", *SPLIT)
    for name in ("current.gguf", SPLIT[0]):
        (tmp_path / name).symlink_to(folder / SPLIT[0])
        assert find_gguf(name, tmp_path) == folder / SPLIT[0]


def test_a_link_to_a_whole_model_keeps_its_name_but_is_the_same_file(tmp_path: Path) -> None:
    write(tmp_path, "blob")
    (tmp_path / "model.gguf").symlink_to("blob")
    found = find_gguf("model.gguf", tmp_path)
    assert (found.name, real_path(found)) == ("model.gguf", tmp_path / "blob")


def test_a_later_part_tells_which_to_name(tmp_path: Path) -> None:
    write(tmp_path, *SPLIT)
    with pytest.raises(ModelLoadError) as caught:
        find_gguf(SPLIT[1], tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / SPLIT[1]} is part 2 of 3 of a split model; name the first part, {SPLIT[0]}."
    )


def test_a_model_of_which_no_part_is_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=rf"There is no file {tmp_path}/{SPLIT[0]}; check the path"):
        find_gguf(SPLIT[0], tmp_path)


@pytest.mark.parametrize(
    ("there", "missing"), [(SPLIT[:2], f"{SPLIT[2]} is"), (SPLIT[:1], f"{SPLIT[1]} and 1 more are")]
)
def test_missing_parts_are_named(tmp_path: Path, there: tuple[str, ...], missing: str) -> None:
    write(tmp_path, *there)
    with pytest.raises(ModelLoadError) as caught:
        find_gguf(SPLIT[0], tmp_path)
    assert str(caught.value) == (
        f"{SPLIT[0]} is one of 3 files of its model, and {missing} not in {tmp_path}; put all of them into one folder."
    )


@pytest.mark.parametrize("name", ["m-00000-of-00003.gguf", "m-00004-of-00003.gguf", "m-1-of-3.gguf", "m.gguf"])
def test_other_names_are_no_parts(name: str) -> None:
    assert PartName.of(name) is None
    assert parts(Path("folder") / name) == [Path("folder") / name]


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


@pytest.mark.parametrize("name", ["owner/repo:", "owner/repo:Q4/x", "owner", "owner/repo/", "//model.gguf", ""])
def test_an_incomplete_hub_name_is_refused_before_any_download(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda **_: pytest.fail("downloaded"))
    with pytest.raises(ModelLoadError, match=r"is not complete; write it as 'hf:OWNER/REPO:QUANT', .*FILE\.gguf'\.$"):
        find_gguf(f"hf:{name}")


LISTED = ("README.md", "m-BF16.gguf", "m-F16.gguf", "m-Q8_0.gguf", "mmproj-Q4_K_M.gguf", "split/" + SPLIT[1])


@pytest.mark.parametrize(
    ("files", "tag", "chosen"),
    [
        (LISTED, None, "m-Q8_0.gguf"),
        ((*LISTED, "split/" + SPLIT[0]), None, "split/" + SPLIT[0]),
        (("z.gguf", "a-Q2_K.gguf"), None, "z.gguf"),
        (LISTED, "F16", "m-F16.gguf"),  # where llama.cpp takes BF16, which comes first and ends alike
        (LISTED[:2], "F16", "m-BF16.gguf"),
        (LISTED, "q8_0", "m-Q8_0.gguf"),
        (("UD-Q4_K_XL/m-UD-Q4_K_XL.gguf",), "Q4_K_XL", "UD-Q4_K_XL/m-UD-Q4_K_XL.gguf"),
        (LISTED, "Q2_K", None),
        (("README.md", "mmproj-Q4_K_M.gguf"), None, None),
    ],
)
def test_a_quantisation_is_looked_up_as_llama_cpp_does(files: tuple[str, ...], tag: str | None, chosen: str) -> None:
    assert choose_file(files, tag) == chosen


FIND = """
import json, sys
from modular_pluralism.errors import ModelLoadError
from modular_pluralism.llama.gguf_source import find_gguf
for source in json.loads(sys.argv[-1]):
    try:
        found = find_gguf(source)
        print(json.dumps([found.name, sorted(path.name for path in found.parent.glob("*.gguf"))]))
    except ModelLoadError as error:
        print(json.dumps([str(error), []]))
"""


def found_by_a_process(*sources: str) -> list[Any]:
    # A new one: the hub's library reads its variables once, when it is imported.
    program = [sys.executable, "-c", FIND, json.dumps(sources)]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_models_of_the_hub_are_fetched_whole_and_found_again_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With huggingface_hub's own client, from a server that answers as the hub does."""
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    files = {name: f"GGUF {name}".encode() for name in (*SPLIT, "m-Q8_0.gguf", "README.md")}
    with hub({"o/r": files}) as (address, asked):
        monkeypatch.setenv("HF_ENDPOINT", address)
        first, second, other, wrong, none = found_by_a_process(
            "hf:o/r", "hf:o/r:q8_0", "hf:o/r:Q2_K", f"hf:o/r/{SPLIT[2]}", "hf:o/none"
        )
    assert first == [SPLIT[0], list(SPLIT)]
    assert second == ["m-Q8_0.gguf", [*SPLIT, "m-Q8_0.gguf"]]
    assert other[0] == f"hf:o/r:Q2_K names no model of the repository; it has {SPLIT[0]}, m-Q8_0.gguf."
    assert wrong[0].endswith(f"name the first part, hf:o/r/{SPLIT[0]}, with which the others are fetched.")
    assert none[0].startswith("hf:o/none could not be downloaded (RepositoryNotFoundError);")
    assert not [line for line in asked if "README" in line]
    # The server has gone.
    again = found_by_a_process("hf:o/r", "hf:o/r:Q8_0", "hf:o/r:Q2_K", f"hf:o/r/{SPLIT[0]}")
    assert [found[0] for found in (again[0], again[1], again[3])] == [SPLIT[0], "m-Q8_0.gguf", SPLIT[0]]
    assert "names no model of the cache, and the hub does not answer; it has" in again[2][0]


# Ollama


@pytest.fixture
def ollama(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    store = tmp_path / "ollama"
    monkeypatch.setenv("OLLAMA_MODELS", str(store))
    return store


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("registry.ollama.ai/library/gemma3/latest", ("gemma3", "gemma3:latest", "library/gemma3")),
        ("registry.ollama.ai/library/qwen3/0.6b-q8_0", ("qwen3:0.6b-q8_0",)),
        ("registry.ollama.ai/somebody/tuned/latest", ("somebody/tuned",)),
        ("hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF/Q4_K_M", ("hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",)),
    ],
)
def test_a_model_of_ollama_is_found_by_its_name(ollama: Path, path: str, names: tuple[str, ...]) -> None:
    layers = (("model", b"GGUF weights"), ("template", b"{{ .Prompt }}"), ("params", b"{}"), ("license", b"MIT"))
    weights, *_ = write_ollama(ollama, path, *layers)
    for name in names:
        assert find_gguf(f"ollama:{name}") == weights


def test_what_ollama_has_is_told_where_a_name_is_wrong(ollama: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"which has no models\. Run `ollama pull gemma3`, or set OLLAMA_MODELS"):
        find_gguf("ollama:gemma3")
    write_ollama(ollama, "registry.ollama.ai/library/qwen3/0.6b", ("model", b"GGUF"))
    write_ollama(ollama, "registry.ollama.ai/somebody/tuned/latest", ("model", b"GGUF"))
    with pytest.raises(ModelLoadError, match=r"which has qwen3:0\.6b, somebody/tuned:latest\. Run"):
        find_gguf("ollama:qwen3")


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ((("license", b"x"),), "has no weights in GGUF format on this machine"),
        ((("tensor", b"x"),), "has no weights in GGUF format on this machine"),
        ((("model", b"1"), ("model", b"2")), "lies in 2 files without the names"),
        ((("model", b"1"), ("adapter", b"2")), "is a base model with an adapter of its own; name /"),
    ],
)
def test_what_cannot_be_taken_from_ollama_is_told(
    ollama: Path, layers: tuple[tuple[str, bytes], ...], told: str
) -> None:
    write_ollama(ollama, "registry.ollama.ai/library/odd/latest", *layers)
    with pytest.raises(ModelLoadError, match=f"^ollama:odd {told}"):
        find_gguf("ollama:odd")


def test_a_damaged_store_of_ollama_is_told(ollama: Path) -> None:
    (blob,) = write_ollama(ollama, "registry.ollama.ai/library/gone/latest", ("model", b"GGUF"))
    blob.unlink()
    with pytest.raises(ModelLoadError, match=r"^ollama:gone lacks its file .*; pull the model again\.$"):
        find_gguf("ollama:gone")
    for manifest, why in (("[", "JSONDecodeError"), ("[" * 100_000, "RecursionError")):
        (ollama / "manifests" / "registry.ollama.ai" / "library" / "gone" / "latest").write_text(manifest)
        with pytest.raises(ModelLoadError, match=rf"manifest .* cannot be read \({why}\); pull the model again"):
            find_gguf("ollama:gone")


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/../b", "a:b:c", "/x", "a//b"])
def test_an_impossible_name_of_ollama_is_refused(ollama: Path, name: str) -> None:
    with pytest.raises(ModelLoadError, match=r"is not complete; write it as 'ollama:NAME'"):
        find_gguf(f"ollama:{name}")
