"""Where runs are kept, and that no password of a database is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from modular_pluralism.errors import InputError
from modular_pluralism.models.redaction import redact
from modular_pluralism.runs.location import STORE_VARIABLE, TIMEOUT_VARIABLE, find_location, find_timeout


def test_the_place_given_then_the_variable_then_a_file_of_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORE_VARIABLE, "there.sqlite")
    assert find_location("here.sqlite").path == Path("here.sqlite")
    assert find_location().path == Path("there.sqlite")
    assert find_location("~/mine.sqlite").path == Path.home() / "mine.sqlite"
    monkeypatch.delenv(STORE_VARIABLE)
    path = find_location().path
    assert path is not None
    assert path.parts[-2:] == ("modular-pluralism", "runs.sqlite")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:geheim1@host:5433/runs", "postgresql://me@host:5433/runs"),
        ("postgres://me:geheim1@[::1]/runs?sslmode=require", "postgresql://me@[::1]/runs"),
        ("postgresql://host/runs?user=me&password=geheim1", "postgresql://host/runs"),
    ],
)
def test_a_database_is_shown_without_its_password(url: str, shown: str) -> None:
    location = find_location(url)
    assert (location.url, location.shown) == (url, shown)
    assert redact("it says geheim1") == "it says ***"


@pytest.mark.parametrize(
    "url", ["mysql://me:geheim@h/x", "postgresql://me:ge@heim@h/x", "postgresql://me:gehe:im@h:x/y", " "]
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(InputError) as error:
        find_location(url)
    assert "heim" not in str(error.value)


def test_the_time_to_wait_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_timeout() == 30
    monkeypatch.setenv(TIMEOUT_VARIABLE, "0.5")
    assert find_timeout() == 0.5
    for wrong in ("soon", "-1", "nan", "inf"):
        monkeypatch.setenv(TIMEOUT_VARIABLE, wrong)
        with pytest.raises(InputError, match="seconds from 0"):
            find_timeout()
