"""A PEFT adapter in a folder or on the Hugging Face hub, as a GGUF adapter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from modular_pluralism.errors import AdapterError
from modular_pluralism.home import expanded
from modular_pluralism.llama.hub_files import check_hub_cache
from modular_pluralism.optional import optional
from modular_pluralism.replaced_file import replaced_path
from modular_pluralism.training.gguf_adapter import Matrix, gguf_tensors, read_base, read_config, write_gguf_adapter

_CONFIG = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_HUB_NAME = re.compile(r"(?:hf:)?(?P<id>[\w.-]+/[\w.-]+)")
_PURPOSE = "Importing an adapter"


def import_adapter(source: str, gguf: Path, target: Path) -> str | None:
    """Convert the adapter at `source`, a folder or OWNER/REPO on the hub, for the base in `gguf`, and write `target`,
    which appears whole or not at all. Returns what the adapter's configuration calls its base.

    Raises:
        AdapterError: there is no such adapter, it is not one that a GGUF adapter can hold, it was made for another
            base, or `target` cannot be written.
        ModelLoadError: the base is missing, or the extra `train` is.
    """
    base = read_base(gguf)
    folder = find_adapter(source)
    config = read_config(_read_text(folder / _CONFIG), source)
    tensors = gguf_tensors(read_weights(folder), config, base)
    try:
        with replaced_path(target) as part:
            write_gguf_adapter(part, tensors, base, name=target.stem, invocation=config.invocation)
    except (FileExistsError, NotADirectoryError) as error:
        raise AdapterError(f"{target.parent} is no folder; name another one to write to.") from error
    except OSError as error:
        raise AdapterError(
            f"{target} cannot be written ({error.strerror or error}); make room, or allow writing there."
        ) from error
    return config.base


def find_adapter(source: str) -> Path:
    """The folder of a PEFT adapter: a local one, or the hub's, downloaded where it is not yet in the cache.

    Raises:
        AdapterError: there is no such folder, or it cannot be downloaded.
    """
    folder = expanded(source, AdapterError)
    if folder.is_dir():
        return folder
    match = _HUB_NAME.fullmatch(source)
    if match is None:
        raise AdapterError(f"There is no folder {source}; give the folder of a PEFT adapter, or OWNER/REPO on the hub.")
    from huggingface_hub import snapshot_download

    check_hub_cache(source, AdapterError)
    try:
        return Path(snapshot_download(match["id"], allow_patterns=[_CONFIG, *_WEIGHTS]))
    except Exception as error:  # the hub's errors share no base class that covers network, missing and forbidden
        raise AdapterError(
            f"{source} is no folder, and could not be downloaded from the hub ({type(error).__name__}); check the name "
            "and the network."
        ) from error


def read_weights(folder: Path) -> dict[str, Matrix]:
    """The weights of a saved PEFT adapter. Raises AdapterError where there are none, or they cannot be read."""
    path = next((folder / name for name in _WEIGHTS if (folder / name).exists()), None)
    if path is None:
        raise AdapterError(
            f"{folder} holds neither {_WEIGHTS[0]} nor {_WEIGHTS[1]}; give the folder of a PEFT adapter."
        )
    torch, safetensors = (optional(module, "train", _PURPOSE) for module in ("torch", "safetensors.torch"))
    try:
        if path.suffix == ".safetensors":
            weights: dict[str, Any] = safetensors.load_file(path)
        else:
            # Only weights: an old file may hold any Python object, which would be run.
            weights = torch.load(path, weights_only=True, map_location="cpu")
        return {key: value.detach().float().numpy() for key, value in weights.items()}
    except Exception as error:  # what the two readers raise of a broken file has no common class
        raise AdapterError(
            f"{path} cannot be read ({type(error).__name__}); use a file that was saved whole."
        ) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AdapterError(f"{path} cannot be read; give the folder of an adapter that PEFT has saved.") from error
