"""Write requirements.lock anew: `make lock`; `make lock UPGRADE=--upgrade` takes the newest versions.

Each package has its version, its marker, the hashes of its files, and before them a comment: who needs it (extras and
groups of pyproject.toml), `source` where there is no wheel of it, `cuda` where only PyTorch for NVIDIA's GPUs asks
for it, `processors` for PyTorch's builds without that. It holds for Linux, macOS and Windows, and for Python 3.11 and
newer. uv resolves.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
SELECTIONS = {
    "build": ["--only-group", "build"],
    "demo": ["--extra", "demo"],
    "dev": ["--extra", "dev"],
    "docs": ["--extra", "docs"],
    "lock": ["--only-group", "lock"],
}
"""Who needs a package, and how uv is asked."""
ALL = ["--group", "build", "--group", "lock", "--extra", "dev", "--extra", "docs"]
OLDEST = "3.11.9"  # Python 3.11.5 and newer: what builds the docs needs that
_CUDA = re.compile(r"nvidia-|cuda-|triton$")
_HEAD = """# Written by `make lock`: versions, markers and hashes of what `make` installs. The comment before a package
# tells who needs it. `source`: there is no wheel. `cuda`: only the build of PyTorch for NVIDIA's GPUs needs it.
# `processors`: the build of PyTorch for those, which is taken where pip finds it.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the lock, and return the exit code."""
    parser = argparse.ArgumentParser(description="Write requirements.lock anew.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that pyproject.toml admits")
    given = parser.parse_args(arguments)
    old = LOCK.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        pins, lock = Path(folder, "pins.txt"), Path(folder, "pylock.toml")
        pins.write_text("" if given.upgrade else _versions(old))
        try:
            _resolve([*ALL, "--output-file", str(pins)])
            _resolve([*ALL, "--constraint", str(pins), "--format", "pylock.toml", "--output-file", str(lock)])
            needed = {
                name: _names(_resolve([*options, "--constraint", str(pins)])) for name, options in SELECTIONS.items()
            }
        except subprocess.CalledProcessError as error:
            print(
                f"{error.stderr}\nrequirements.lock is as it was; mend pyproject.toml, and call again.", file=sys.stderr
            )
            return 1
        found = tomllib.loads(lock.read_text())["packages"]
        packages = [each for each in found if each["name"] != "pip"]  # which is the one that comes with Python
    blocks = [*(_block(each, needed) for each in packages), *_builds_for_processors(old)]
    LOCK.write_text(_HEAD + "".join(blocks), encoding="utf-8")
    print(f"Written: {len(packages)} packages to {LOCK.name}")
    return 0


def _resolve(options: Sequence[str]) -> str:
    uv = [sys.executable, "-m", "uv", "pip", "compile", "--universal", "--python-version", OLDEST, "--quiet"]
    style = ["--fork-strategy", "fewest", "--no-header", "--no-annotate"]
    source = [] if "--only-group" in options else ["pyproject.toml"]
    options = ["--group" if option == "--only-group" else option for option in options]
    done = subprocess.run([*uv, *style, *source, *options], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def _versions(lock: str) -> str:
    return "".join(f"{pin}\n" for pin in re.findall(r"^[\w.\[\]-]+==[^\s;]+", lock, re.MULTILINE) if "+" not in pin)


def _names(text: str) -> set[str]:
    return set(re.findall(r"^([\w.-]+)==", re.sub(r"\[.*?\]", "", text), re.MULTILINE))


def _block(package: dict[str, Any], needed: dict[str, set[str]]) -> str:
    name, version = package["name"], package["version"]
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
    hashes = {file["hashes"]["sha256"] for file in files}
    pin = f"{name}=={version}"
    words = [each for each, names in needed.items() if name in names]
    words += ["cuda"] if _CUDA.match(name) else []
    words += [] if package.get("wheels") else ["source"]
    marker = f" ; {package['marker']}" if "marker" in package else ""
    lines = [f"{pin}{marker}", *(f"    --hash=sha256:{digest}" for digest in sorted(hashes))]
    return _text(words, lines)


def _text(words: Sequence[str], lines: Sequence[str]) -> str:
    return f"# {', '.join(words)}\n" + " \\\n".join(lines) + "\n"


def _builds_for_processors(old: str) -> list[str]:
    """Blocks of PyTorch's builds for processors, whose version ends in +cpu: those in the folders of PIP_FIND_LINKS, or
    else those that the lock has, for the common index has none."""
    found: dict[str, set[str]] = {}
    for folder in os.environ.get("PIP_FIND_LINKS", "").split():
        for wheel in Path(folder).glob("torch-*+cpu-*.whl"):
            found.setdefault(wheel.name.split("-")[1], set()).add(sha256(wheel.read_bytes()).hexdigest())
    if not found:
        for block in re.findall(r"^torch==\S+\+cpu\b(?:.*\\\n)+.*", old, re.MULTILINE):
            found[block.split()[0].removeprefix("torch==")] = set(re.findall(r"sha256:(\w+)", block))
    return [
        _text(["dev", "processors"], [f"torch=={version}", *(f"    --hash=sha256:{each}" for each in sorted(hashes))])
        for version, hashes in sorted(found.items())
    ]


if __name__ == "__main__":
    sys.exit(main())
