"""The three standard streams as the command begins: each may be closed. It is imported before anything else."""

from __future__ import annotations

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
