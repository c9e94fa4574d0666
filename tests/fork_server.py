"""A process that has imported everything, and forks for each command: importing takes longer than most commands do.

Each command is a process of its own with its own arguments, environment, folder and streams, as a user's is. Run as a
script it is the server. A message says what to run, and carries the three streams and a socket: over that a keeper,
forked for this command alone, tells the command's process and then its exit code (negative: the signal that ended it).
Who closes the other end of the socket no longer wants the command, which is killed then. What libraries a command has
imported besides, the server imports before the next command of that name.
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
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
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
_MOST_BYTES = 1 << 20
_STREAMS = 3
_lock = threading.Lock()
_control: socket.socket | None = None


class Command:
    """A command at work: the part of `subprocess.Popen` that tests use."""

    def __init__(
        self, command: list[str], *, cwd: Path | None, env: Mapping[str, str], streams: tuple[int, int, int]
    ) -> None:
        self.args = command
        self.returncode: int | None = None
        self._told = b""
        self._keeper, far = socket.socketpair()
        wanted = json.dumps({"command": command, "cwd": str(cwd or Path.cwd()), "env": dict(env)}).encode()
        with far:
            socket.send_fds(_connected(), [wanted], [*streams, far.fileno()])
        self.pid = self._next_number(None)

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code.

        Raises:
            subprocess.TimeoutExpired: it is still at work after so many seconds.
        """
        if self.returncode is None:
            self.returncode = self._next_number(timeout)
            self._keeper.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _next_number(self, timeout: float | None) -> int:
        """The next line that the keeper writes."""
        end = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._told:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([self._keeper], [], [], left)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            told = self._keeper.recv(64)
            assert told, "the fork server has broken down; standard error says why"
            self._told += told
        line, _, self._told = self._told.partition(b"\n")
        return int(line)


def _connected() -> socket.socket:
    """Where the server takes its messages; it is started at the first call."""
    global _control
    with _lock:
        if _control is None:
            _control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with far:
                server = subprocess.Popen(
                    [sys.executable, "-m", "tests.fork_server", str(far.fileno())],
                    cwd=Path(__file__).resolve().parents[1],
                    # Each command has a PYTHONPATH of its own, which says which model it finds.
                    env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                    stdin=subprocess.DEVNULL,
                    pass_fds=[far.fileno()],
                )
            atexit.register(server.kill)
        return _control


def _serve(control: socket.socket) -> None:
    for module in _IMPORTED:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    libraries = _Libraries()
    while True:
        message, files, _, _ = socket.recv_fds(control, _MOST_BYTES, _STREAMS + 1)
        if not message:
            return
        wanted = json.loads(message)
        libraries.load(_name(wanted))
        assert threading.active_count() == 1, "a process with threads cannot be forked safely"
        gc.freeze()  # so that a collection does not write to shared memory, either
        if os.fork() == 0:
            control.close()
            _keep(wanted, files, libraries)
        for file in files:
            os.close(file)


def _name(wanted: dict[str, Any]) -> str:
    return str(next(iter(wanted["command"][1:]), ""))


class _Libraries:
    """What commands have imported: each tells it at its end, and the server imports it for others of its name."""

    def __init__(self) -> None:
        self._told, self._telling = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._told.setblocking(False)
        self._of: dict[str, list[str]] = {}

    def tell(self, command: str) -> None:
        """In the command's process: what it has imported."""
        modules = [
            name for name, module in sys.modules.items() if "site-packages" in str(getattr(module, "__file__", ""))
        ]
        self._telling.send(json.dumps([command, modules]).encode())

    def load(self, command: str) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                name, modules = json.loads(self._told.recv(_MOST_BYTES))
                self._of[name] = modules
        for module in self._of.pop(command, ()):
            with contextlib.suppress(ImportError):
                importlib.import_module(module)


def _keep(wanted: dict[str, Any], files: list[int], libraries: _Libraries) -> NoReturn:
    """Fork the command, and tell what becomes of it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    process = os.fork()
    if process == 0:
        os.close(files.pop())
        _become(wanted, files, libraries)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a whole terminal, which the command gets, too
    with socket.socket(fileno=files.pop()) as asker, contextlib.suppress(BrokenPipeError):
        for file in files:
            os.close(file)
        asker.sendall(f"{process}\n".encode())
        ended = os.pidfd_open(process)
        either: list[socket.socket | int] = [asker, ended]
        if ended not in select.select(either, [], [])[0]:
            os.kill(process, signal.SIGKILL)
        asker.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])}\n".encode())
    os._exit(0)


def _become(wanted: dict[str, Any], streams: list[int], libraries: _Libraries) -> NoReturn:
    """Turn this process into the command; it ends as the command does."""
    for number, file in enumerate(streams):
        os.dup2(file, number)
        os.close(file)
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
            exec(compile(sys.argv[2], "<string>", "exec", dont_inherit=True), {"__name__": "__main__"})
        else:
            importlib.import_module("modular_pluralism.__main__").main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # as the interpreter does
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    libraries.tell(_name(wanted))
    # Taking every module apart writes to all the memory that is shared until then, which takes a second.
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # of a whole terminal
        _serve(socket.socket(fileno=int(sys.argv[1])))
