"""A model of random weights that stands in for the demo model, with its whole tokenizer and chat template.

It is a Python package of the demo model's name with a file of the same name in it, so that pool files, the built-in
ones among them, find it where the folder stands before the other packages: in this process and in those it starts. It
writes common English words; a text ends early at a high temperature and never at temperature 0. A reply begins with a
label, so that options can be read.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
from filelock import FileLock
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from tests import training_models
from tests.demo_model import FILE, PACKAGE
from tests.training_models import HIDDEN, LAYERS, WIDE, read_tokenizer, write_tiny

_PATHS = "PYTHONPATH"
_LABELS = {*"ABCDEFGHIJKLMNOPQRSTUVWXYZ123456789"}
_WORDS = 2000
"""How many words it knows; every second one is the last of its text."""
_BEGINS, _ENDS, _ALWAYS = 0, 1, 2
"""Directions of the hidden state: a reply begins here, a text ends here, and what is the same after all tokens."""


_SOURCES = [Path(str(module)).read_bytes() for module in (__file__, training_models.__file__)]
_FOLDER = Path(__file__).resolve().parents[1] / ".pytest_cache" / "d" / "random-model"
_PACKAGES = _FOLDER / hashlib.sha256(b"".join(_SOURCES)).hexdigest()[:12]
RANDOM_GGUF = _PACKAGES / PACKAGE / FILE


def make_random_model() -> None:
    """Make the model unless there is one, made by whatever process."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(_FOLDER.with_suffix(".lock")):
        if not RANDOM_GGUF.exists():
            shutil.rmtree(_FOLDER)  # an earlier version
            RANDOM_GGUF.parent.mkdir(parents=True, exist_ok=True)
            (RANDOM_GGUF.parent / "__init__.py").touch()
            tokens = read_tokenizer("ggml.tokens")
            unfinished = RANDOM_GGUF.with_name("unfinished")
            own = _own_matrices(tokens)
            # As the demo model: with this format a text does not depend on what is decoded beside it.
            write_tiny(unfinished, vocabulary=len(tokens), context=8192, own=own, stored=GGMLQuantizationType.Q4_1)
            unfinished.replace(RANDOM_GGUF)


def can_write(text: str) -> bool:
    """Whether it can: no text of it has a mark, or a capital letter before a small one, as all sentences have."""
    return re.search(r"[A-Z][a-z]|[^A-Za-z0-9 \n]", text) is None


def stand_in(wanted: bool) -> None:
    """Let the random model be found in the demo model's place, here and in processes started from now on, or not."""
    place = str(_PACKAGES)
    others = [path for path in os.environ.get(_PATHS, "").split(os.pathsep) if path not in ("", place)]
    sys.path[:] = [place] * wanted + [path for path in sys.path if path != place]
    if paths := [place] * wanted + others:
        os.environ[_PATHS] = os.pathsep.join(paths)
    else:
        os.environ.pop(_PATHS, None)


def _own_matrices(tokens: list[str]) -> dict[str, NDArray[np.float32]]:
    """What each token is, which token follows, and what the layers add, which leaves the directions above alone."""
    random = np.random.default_rng(2)

    def drawn(scale: float, *shape: int) -> NDArray[np.float32]:
        return random.normal(0, scale, shape).astype(np.float32)

    is_, follows = drawn(1.5, len(tokens), HIDDEN), drawn(0.15, len(tokens), HIDDEN)
    words = [number for number, token in enumerate(tokens) if re.fullmatch("Ġ[a-z]+", token)][:_WORDS]
    labels = [number for number, token in enumerate(tokens) if token in _LABELS]
    follows[np.setdiff1d(np.arange(len(tokens)), [*words, *labels])] = 0
    is_[:, [_BEGINS, _ENDS]] = follows[:, [_BEGINS, _ENDS, _ALWAYS]] = 0
    is_[:, _ALWAYS] = 4
    is_[tokens.index("Ċ"), _BEGINS] = is_[words[::2], _ENDS] = 8
    follows[words[::2], _ALWAYS] = -1.5  # they are never the likeliest
    follows[labels, _BEGINS] = 2
    follows[2, _ENDS] = 4  # the token that ends a text
    own = {"token_embd": is_, "output": follows}
    for layer in range(LAYERS):
        for part, width in (("attn_output", HIDDEN), ("ffn_down", WIDE)):
            matrix = own[f"blk.{layer}.{part}"] = drawn(0.15, HIDDEN, width)
            matrix[[_BEGINS, _ENDS, _ALWAYS]] = 0
    return own
