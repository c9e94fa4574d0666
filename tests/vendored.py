"""The chat templates and the vocabularies of real models that llama.cpp carries: they lie in the source distribution of
llama-cpp-python, which is fetched once and kept beside the environment's packages.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

_KEPT = Path(sys.prefix) / "share" / "llama.cpp"


def template_names() -> list[str]:
    """Of all templates, such as "Qwen-Qwen3-0.6B"."""
    return sorted(path.stem for path in (_models() / "templates").glob("*.jinja"))


def chat_template(name: str) -> str:
    """The text of a template."""
    return (_models() / "templates" / f"{name}.jinja").read_text()


def vocabulary_names() -> list[str]:
    """Of all vocabularies, such as "qwen2"."""
    return sorted(path.stem.removeprefix("ggml-vocab-") for path in _models().glob("ggml-vocab-*.gguf"))


def vocabulary(name: str) -> Path:
    """A GGUF file that holds a tokenizer and no weights."""
    return _models() / f"ggml-vocab-{name}.gguf"


@cache
def _models() -> Path:
    folder = _KEPT / version("llama-cpp-python")
    _KEPT.mkdir(parents=True, exist_ok=True)
    with FileLock(_KEPT / "lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=_KEPT) as fresh:
                _fetch(Path(fresh))
                (Path(fresh) / "models").rename(folder)
    return folder


def _fetch(folder: Path) -> None:
    """Unpack `models` of llama.cpp into the folder."""
    package = f"llama-cpp-python=={version('llama-cpp-python')}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-binary", "llama-cpp-python", "--no-deps"]
    subprocess.run([*pip, "--dest", str(folder), package], check=True)
    (source,) = folder.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        for member in archive:
            _, found, inside = member.name.partition("/vendor/llama.cpp/models/")
            if found and inside.endswith((".gguf", ".jinja")):
                member.name = f"models/{inside}"
                archive.extract(member, folder, filter="data")
