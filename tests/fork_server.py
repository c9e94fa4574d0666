"""A process that has imported everything, and forks for each command: importing takes longer than most commands do.

Each command is a process of its own with its own arguments, environment, folder and streams, as a user's is. Run as a
script it is the server: a JSON object a line says what to run, and a line comes back with the process and one with its
exit code (negative: the signal that ended it).
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

_IMPORTED = (
    "modular_pluralism.cli.app",
    "modular_pluralism.cli.run_graph",
    "modular_pluralism.cli.terminal_view",
    "modular_pluralism.evaluation",
    "modular_pluralism.graphs",
    "modular_pluralism.llama",
    "modular_pluralism.runs.opening",
)
_server: subprocess.Popen[str] | None = None
_lock = threading.Lock()


def run(command: list[str], *, cwd: Path | None, env: dict[str, str], streams: tuple[Path, Path, Path]) -> int:
    """The exit code of `command`: the path of `pluralism` with arguments, or of Python with -c and code. `streams` are
    the files to read standard input from, and to write standard output and standard error to.

    Raises:
        subprocess.TimeoutExpired: it took 300 seconds.
    """
    global _server
    with _lock:
        if _server is None:
            _server = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server"],
                cwd=Path(__file__).resolve().parents[1],
                # Each command has a PYTHONPATH of its own, which says which model it finds.
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            atexit.register(_server.kill)
        assert _server.stdin is not None
        assert _server.stdout is not None
        files = [str(each) for each in streams]
        wanted = {"command": command, "cwd": str(cwd or Path.cwd()), "env": env, "streams": files}
        _server.stdin.write(f"{json.dumps(wanted)}\n")
        _server.stdin.flush()
        process = int(_server.stdout.readline())
        late = threading.Event()

        def give_up() -> None:
            late.set()
            os.kill(process, signal.SIGKILL)

        timer = threading.Timer(300, give_up)
        timer.start()
        code = int(_server.stdout.readline())
        timer.cancel()
    if late.is_set():
        raise subprocess.TimeoutExpired(command, 300)
    return code


def _serve() -> None:
    for module in _IMPORTED:
        importlib.import_module(module)
    assert threading.active_count() == 1, "a process with threads cannot be forked safely"
    gc.freeze()  # so that a collection does not write to shared memory, either
    for line in sys.stdin:
        wanted = json.loads(line)
        process = os.fork()
        if process == 0:
            _become(wanted)
        print(process, flush=True)
        status = _wait(process)
        if status is None:
            return
        print(os.waitstatus_to_exitcode(status), flush=True)


def _wait(process: int) -> int | None:
    """How the command ended; None where nobody wants to know any more, and the command has been killed."""
    asker = select.poll()
    asker.register(sys.stdin, select.POLLHUP)
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return status
        if asker.poll(10):
            os.kill(process, signal.SIGKILL)
            return None


def _become(wanted: dict[str, Any]) -> NoReturn:
    """Turn this process into the command; it ends as the command does."""
    flags = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)
    for number, (name, flag) in enumerate(zip(wanted["streams"], flags, strict=True)):
        os.dup2(os.open(name, flag), number)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, errors="backslashreplace")
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    sys.path[:0] = [path for path in wanted["env"].get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.argv = wanted["command"]
    code: Any = None
    try:
        if sys.argv[1:2] == ["-c"]:
            exec(compile(sys.argv[2], "<string>", "exec"), {"__name__": "__main__"})
        else:
            importlib.import_module("modular_pluralism.cli.app").main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # as the interpreter does
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    # Taking every module apart writes to all the memory that is shared until then, which takes a second.
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # of a whole terminal
        _serve()
