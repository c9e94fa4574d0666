"""Install this checkout and what it needs into the environment whose Python runs this, and show how far it is.

    .venv/bin/python install/environment.py demo           # the extra `demo`, by requirements.lock
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
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
LOG = Path(sys.prefix) / "install.log"
ENGINE = "llama-cpp-python"
# No library for pictures and none for llama.cpp's tools: less than half of the files is left. A user's own CMAKE_ARGS,
# such as -DGGML_CUDA=on, come after ours and win.
CMAKE_ARGS = f"-DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE={ROOT / 'install' / 'llama_cpp.cmake'}"

_COMPILED = re.compile(r"^\s*\[(\d+)/(\d+)\] ")
_COLLECTED = re.compile(r"^\s*Collecting ([A-Za-z0-9._-]+)")
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
    parser.add_argument("extra", choices=sorted(_project()["optional-dependencies"]))
    parser.add_argument("--newest", action="store_true", help="pass over requirements.lock")
    given = parser.parse_args(arguments)
    LOG.write_text("")
    environment = {**os.environ, "CMAKE_ARGS": f"{CMAKE_ARGS} {os.environ.get('CMAKE_ARGS', '')}".strip()}
    if given.newest:
        environment.update(PIP_UPGRADE="1", PIP_UPGRADE_STRATEGY="eager")
    else:
        environment["PIP_CONSTRAINT"] = str(LOCK)  # as a variable it holds for what builds a package, too
    try:
        engine = next(text for text in _project()["dependencies"] if text.startswith(ENGINE))
        _pip("Building llama.cpp, some minutes the first time", ["--verbose", engine], environment, _compiled)
        checkout = ["--editable", f"{ROOT}[{given.extra}]"]
        _pip("Installing the packages", checkout, environment, _collected())
    except InstallError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; the next call goes on with what is installed by now.", file=sys.stderr)
        return 130
    return 0


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
        last = "".join(LOG.read_text(errors="replace").splitlines(keepends=True)[-20:])
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
