"""Postgres's errors, told as what is wrong with the store and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from modular_pluralism.errors import StoreError
from modular_pluralism.models.redaction import redact


@contextmanager
def postgres_errors(shown: str) -> Iterator[None]:
    """Turn what psycopg raises in this block into a StoreError."""
    try:
        yield
    except psycopg.Error as error:
        # Not as its cause: a traceback would show the address with its password.
        raise StoreError(f"The store {shown} {_sentence(error)}") from None


def _sentence(error: psycopg.Error) -> str:
    said = redact(" ".join(str(error).split())).rstrip(" .")
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return "has been locked by another process for too long; wait for it, and try again."
    if isinstance(error, psycopg.errors.DiskFull):
        return f"cannot be written ({said}); make room on the server's disk."
    if isinstance(error, psycopg.OperationalError):
        return f"cannot be reached ({said}); check that the server runs, and the address of the store."
    return f"cannot be used ({said}); check the database and this user's rights in it."
