"""The three standard streams: each may be closed. It is imported before anything else."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys

from modular_pluralism.errors import InputError


def stand_in_for_closed_streams() -> None:
    """Put nothing in the place of each closed stream, lest the next file that is opened get its number: what libraries
    print would be written into that. `sys.stdin` and `sys.stdout` stay None, so that one can tell."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - stays open


def check_output() -> None:
    """Find out whether what is printed on standard output will arrive, before anything is done.

    Raises:
        InputError: it is closed, or can only be read.
        OSError: it cannot be written, as on a full disk.
    """
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        os.write(sys.stdout.fileno(), b"")
    except io.UnsupportedOperation:  # no file at all, as within a program
        return
    except OSError as error:
        if error.errno == errno.EBADF:
            raise InputError(
                "Standard output is closed, so nothing could be shown; send it to a file, or to /dev/null."
            ) from None
        raise


def piped(what: str) -> str:
    """What standard input holds: UTF-8, whatever Python takes the terminal for, or else in the terminal's encoding.

    Raises:
        InputError: it is closed, or cannot be read; `what` should have come is said.
    """
    if sys.stdin is None:
        raise InputError(f"Standard input is closed, so no {what} can be read from it; send one, or write it out.")
    try:
        given = sys.stdin.buffer.read()
    except OSError as error:
        raise InputError(f"The {what} cannot be read from standard input ({error.strerror}).") from None
    for encoding in ("utf-8-sig", sys.stdin.encoding):
        with contextlib.suppress(UnicodeDecodeError):
            return given.decode(encoding).replace("\r\n", "\n").strip()
    raise InputError(f"The {what} cannot be read from standard input; send it as UTF-8 text.")
