"""Install this checkout and what it needs into the environment whose Python runs this, and show how far it is.

    .venv/bin/python install/environment.py demo           # the extra `demo`, by requirements.lock and its hashes
    .venv/bin/python install/environment.py dev --newest   # the newest versions that pyproject.toml admits

Only the standard library is used, since nothing else is there yet.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
LOG = Path(sys.prefix) / "install.log"
ENGINE = "llama-cpp-python"
# No library for pictures and none for llama.cpp's tools: less than half of the files is left. A user's own CMAKE_ARGS,
# such as -DGGML_CUDA=on, come after ours and win.
CMAKE_ARGS = f"-DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE={ROOT / 'install' / 'llama_cpp.cmake'}"

BUILDING = "Building llama.cpp, some minutes the first time"
INSTALLING = "Installing the packages"
WHEELS = ["--only-binary", ":all:"]

_COMPILED = re.compile(r"^\s*\[(\d+)/(\d+)\] ")
_COLLECTED = re.compile(r"^\s*Collecting ([A-Za-z0-9._-]+)")
_WRONG = re.compile(r"THESE PACKAGES DO NOT MATCH THE HASHES.*?\n\s+([\w.-]+)", re.DOTALL)
_NOWHERE = "No matching distribution found"
_UNPACKING = re.compile(r"^\s*Installing collected packages: (.+)")


class InstallError(Exception):
    """A step failed; the message says where its output is."""


class Progress:
    """One line that is rewritten on a terminal; elsewhere a line now and then."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = time.monotonic()
        self._told = self._began
        self._terminal = sys.stderr.isatty()
        self._write(f"{title} …")

    def tell(self, how_far: str) -> None:
        """Show how far the step is."""
        now = time.monotonic()
        if self._terminal or now - self._told > 15:
            self._told = now
            self._write(f"{self._title}: {how_far} ({now - self._began:.0f} s)")

    def end(self) -> None:
        """Say that the step is done."""
        self._write(f"{self._title}: done in {time.monotonic() - self._began:.0f} s")
        if self._terminal:
            print(file=sys.stderr)

    def _write(self, text: str) -> None:
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{text[:width]:<{width}}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Install, and return the exit code."""
    parser = argparse.ArgumentParser(description="Install this checkout, and show how far it is.")
    parser.add_argument("wanted", choices=["demo", "dev", "docs", "lock"])
    parser.add_argument("--newest", action="store_true", help="pass over requirements.lock")
    given = parser.parse_args(arguments)
    LOG.write_text("")
    environment = {**os.environ, "CMAKE_ARGS": f"{CMAKE_ARGS} {os.environ.get('CMAKE_ARGS', '')}".strip()}
    try:
        if given.wanted == "lock":
            _locked("Installing uv", _block_texts("lock"), [], environment)
        elif given.newest:
            _newest(given.wanted, {**environment, "PIP_UPGRADE": "1", "PIP_UPGRADE_STRATEGY": "eager"})
        else:
            _by_the_lock(given.wanted, environment)
    except InstallError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; the next call goes on with what is installed by now.", file=sys.stderr)
        return 130
    return 0


def _newest(extra: str, environment: dict[str, str]) -> None:
    engine = next(text for text in _project()["dependencies"] if text.startswith(ENGINE))
    _pip(BUILDING, ["--verbose", engine], environment, _compiled)
    _pip(INSTALLING, ["--editable", f"{ROOT}[{extra}]"], environment, _collected())


def _by_the_lock(extra: str, environment: dict[str, str]) -> None:
    """Every file is verified by its hash in the lock. pip resolves nothing: the lock is complete."""
    blocks = _block_texts(extra)
    sources = [text for text in blocks if "source" in _words(text)]
    # Not into the environment itself: the packages may want other versions, and users need no CMake there.
    with tempfile.TemporaryDirectory() as folder:
        _locked("Fetching what builds llama.cpp", _block_texts("build"), [*WHEELS, "--target", folder], environment)
        paths = os.pathsep.join(filter(None, (folder, environment.get("PYTHONPATH"))))
        building = {**environment, "PYTHONPATH": paths}
        _locked(BUILDING, sources, ["--verbose", "--no-build-isolation"], building, _compiled)
        _torch_for_processors([text for text in blocks if "processors" in _words(text)], environment)
        wheels = [text for text in blocks if not {"source", "cuda", "processors"} & _words(text)]
        _locked(INSTALLING, wheels, WHEELS, environment, _collected())
        if _torch_wants_cuda():
            cuda = [text for text in blocks if "cuda" in _words(text)]
            _locked("Installing what PyTorch needs of CUDA", cuda, WHEELS, environment, _collected())
        checkout = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
        _pip("Installing this checkout", checkout, building, _collected())


def _torch_for_processors(blocks: Sequence[str], environment: dict[str, str]) -> None:
    """PyTorch's build for processors, where pip is told of a place that has it: a tenth of the one for NVIDIA's GPUs,
    which the common index has. It comes first, since pip would prefer a file of which an index tells the hash."""
    if not blocks:
        return
    try:
        _locked("Installing PyTorch for processors", blocks, WHEELS, environment)
    except InstallError as error:
        if _NOWHERE not in str(error):
            raise
        print("There is none here; the build of the common index is taken.", file=sys.stderr)


def _torch_wants_cuda() -> bool:
    """Whether the build of PyTorch that is installed here is that for NVIDIA's GPUs from the common index."""
    try:
        return any(text.startswith("nvidia-") for text in requires("torch") or ())
    except PackageNotFoundError:
        return False


def _block_texts(wanted: str) -> list[str]:
    """The parts of the lock that are for an extra or a group: a comment, and a requirement with its hashes."""
    blocks = re.findall(r"^# .*\n(?:[\w.-]+==.*\n)(?:    --hash=.*\n)+", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    return [block for block in blocks if wanted in _words(block)]


def _words(block: str) -> set[str]:
    return set(block.partition("\n")[0].removeprefix("# ").split(", "))


def _locked(
    title: str,
    blocks: Sequence[str],
    arguments: Sequence[str],
    environment: dict[str, str],
    how_far: Callable[[str], str | None] | None = None,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")
        file.write_text("".join(blocks), encoding="utf-8")
        hashed = ["--require-hashes", "--no-deps", "--requirement", str(file)]
        _pip(title, [*hashed, *arguments], environment, how_far or _collected())


def _project() -> dict[str, dict[str, list[str]]]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project: dict[str, dict[str, list[str]]] = tomllib.load(file)["project"]
    return project


def _pip(
    title: str, arguments: Sequence[str], environment: dict[str, str], how_far: Callable[[str], str | None]
) -> None:
    quiet = ["--disable-pip-version-check", "--progress-bar", "off"]
    # Python compiles a file when it is first imported, and most of 25,000 never are; unless it is told to keep nothing.
    lazily = [] if sys.dont_write_bytecode else ["--no-compile"]
    pip_install = [sys.executable, "-m", "pip", "install", *quiet, *lazily]
    progress = Progress(title)
    with (
        LOG.open("a") as log,
        subprocess.Popen(
            [*pip_install, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as pip,
    ):
        assert pip.stdout is not None
        for line in pip.stdout:
            log.write(line)
            told = how_far(line)
            if told is not None:
                progress.tell(told)
    if pip.returncode:
        whole = LOG.read_text(errors="replace")
        if wrong := _WRONG.search(whole):
            raise InstallError(
                f"{wrong[1]} is not the file whose hash requirements.lock holds, so nothing of this step is installed; "
                f"both hashes are in {LOG}. Fetch it from an index you trust, or renew the lock by `make lock`."
            )
        last = "".join(whole.splitlines(keepends=True)[-20:])
        raise InstallError(f"{last}\n{title} failed; the whole output is in {LOG}. Mend what it names and call again.")
    progress.end()


def _compiled(line: str) -> str | None:
    found = _COMPILED.match(line)
    return f"{found[1]} of {found[2]} files" if found else None


def _collected() -> Callable[[str], str | None]:
    count = 0

    def how_far(line: str) -> str | None:
        nonlocal count
        if found := _COLLECTED.match(line):
            count += 1
            return f"{count} packages found, now {found[1]}"
        if found := _UNPACKING.match(line):
            return f"unpacking {len(found[1].split(', '))} packages"
        return None

    return how_far


if __name__ == "__main__":
    sys.exit(main())
