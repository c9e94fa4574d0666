"""How a `gguf` is written that is no path: in an installed package, on the Hugging Face hub, or in Ollama's store."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE_FILE = re.compile(r"package:(?P<package>[A-Za-z_][A-Za-z0-9_.]*)/(?P<file>[^/].*)")
"""What a file in an installed package looks like."""
PACKAGE_FORM = "'package:PACKAGE/FILE'"
"""How it is written, for people."""
HUB_MODEL = re.compile(r"hf:(?P<repo>[^/:]+/[^/:]+)(?::(?P<tag>[^/:]+)|/(?P<file>[^/].*\.gguf))?")
"""What a model on the Hugging Face hub looks like."""
HUB_FORM = "'hf:OWNER/REPO:QUANT', 'hf:OWNER/REPO' or 'hf:OWNER/REPO/FILE.gguf'"
"""How it is written, for people."""
_WORD = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
OLLAMA_MODEL = re.compile(rf"ollama:(?P<path>(?:{_WORD}(?::\d+)?/)?(?:{_WORD}/)?{_WORD})(?::(?P<tag>{_WORD}))?")
"""What a model that Ollama keeps looks like."""
OLLAMA_FORM = "'ollama:NAME' or 'ollama:NAME:TAG'"
"""How it is written, for people."""
_FORMS = {
    "package:": (PACKAGE_FILE, PACKAGE_FORM),
    "hf:": (HUB_MODEL, HUB_FORM),
    "ollama:": (OLLAMA_MODEL, OLLAMA_FORM),
}
NO_PATHS = tuple(_FORMS)
"""How a `gguf` begins that is no path, and so is the same from every folder."""


def form_of(source: str) -> str | None:
    """How the source ought to be written; None where it is written so, or is a path."""
    for beginning, (pattern, form) in _FORMS.items():
        if source.startswith(beginning) and not pattern.fullmatch(source):
            return form
    return None


def short_name(source: str | Path) -> str:
    """What a model is called that is named so: its file's stem, or what the hub or Ollama calls it."""
    text = str(source)
    if text.startswith(NO_PATHS) and not text.endswith(".gguf"):
        return text.partition(":")[2].rpartition("/")[2]
    return Path(text).stem
