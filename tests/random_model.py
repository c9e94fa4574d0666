"""A model of random weights that stands in for the demo model, with its whole tokenizer and chat template.

It is a Python package of the demo model's name with a file of the same name in it, so that pool files, the built-in
ones among them, find it where the folder stands before the other packages: in this process and in those it starts. It
writes common English words and ends a text after some of them; a reply begins with a label, so that options
can be read.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path

import numpy as np
from filelock import FileLock
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from tests import training_models
from tests.demo_model import FILE, PACKAGE
from tests.training_models import HIDDEN, read_tokenizer, write_tiny

_PATHS = "PYTHONPATH"
_LABELS = {*"ABCDEFGHIJKLMNOPQRSTUVWXYZ123456789"}
_WORDS, _LENGTH = 2000, 30
"""How many words it knows, and how many it writes in a text on average."""
_BEGINS, _ENDS = 0, 1
"""Directions of the hidden state: a reply begins here, and a text ends here."""


_SOURCES = [Path(str(module)).read_bytes() for module in (__file__, training_models.__file__)]
_FOLDER = Path(__file__).resolve().parents[1] / ".pytest_cache" / "d" / "random-model"
_PACKAGES = _FOLDER / hashlib.sha256(b"".join(_SOURCES)).hexdigest()[:12]
RANDOM_GGUF = _PACKAGES / PACKAGE / FILE


def make_random_model() -> None:
    """Make the model unless there is one, made by whatever process."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(_FOLDER / "lock"):
        if not RANDOM_GGUF.exists():
            RANDOM_GGUF.parent.mkdir(parents=True, exist_ok=True)
            (RANDOM_GGUF.parent / "__init__.py").touch()
            tokens = read_tokenizer("ggml.tokens")
            unfinished = RANDOM_GGUF.with_name("unfinished")
            own = _first_and_last(tokens)
            # As the demo model: with this format a text does not depend on what is decoded beside it.
            write_tiny(unfinished, vocabulary=len(tokens), context=8192, own=own, stored=GGMLQuantizationType.Q4_1)
            unfinished.replace(RANDOM_GGUF)


def stand_in(wanted: bool) -> None:
    """Let the random model be found in the demo model's place, here and in processes started from now on, or not."""
    place = str(_PACKAGES)
    others = [path for path in os.environ.get(_PATHS, "").split(os.pathsep) if path not in ("", place)]
    sys.path[:] = [place] * wanted + [path for path in sys.path if path != place]
    if paths := [place] * wanted + others:
        os.environ[_PATHS] = os.pathsep.join(paths)
    else:
        os.environ.pop(_PATHS, None)


def _first_and_last(tokens: list[str]) -> dict[str, NDArray[np.float32]]:
    """The first and the last weights: what each token is, and which token follows."""
    random = np.random.default_rng(2)
    is_, follows = (random.normal(0, scale, (len(tokens), HIDDEN)).astype(np.float32) for scale in (1.5, 0.15))
    words = [number for number, token in enumerate(tokens) if re.fullmatch("Ġ[a-z]+", token)][:_WORDS]
    labels = [number for number, token in enumerate(tokens) if token in _LABELS]
    follows[np.setdiff1d(np.arange(len(tokens)), [*words, *labels])] = 0
    is_[:, [_BEGINS, _ENDS]] = follows[:, [_BEGINS, _ENDS]] = 0
    is_[tokens.index("Ċ"), _BEGINS] = is_[words[::_LENGTH], _ENDS] = 8
    follows[labels, _BEGINS] = 2
    follows[2, _ENDS] = 4  # the token that ends a reply
    return {"token_embd": is_, "output": follows}
