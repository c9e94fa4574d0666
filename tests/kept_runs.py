"""Runs in a store, against a fake endpoint: a pool of it, the command in this process, and what is in the store."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import id as checkpoint_ids
from typer.testing import CliRunner

from modular_pluralism.cli.app import app
from tests.fake_endpoint import FakeEndpoint

KEY = "sk-never-in-a-store-0123456789"
QUICK, SLOW = ["ada", "ben", "cleo"], ["dan", "eva", "fay"]
NAMES = [*QUICK, *SLOW]
MODES: dict[str, list[str]] = {
    "overton": [],
    "steerable": ["--attribute", "the right to privacy"],
    "distributional": ["--option", "Yes", "--option", "No"],
}


@dataclass
class Kept:
    """A folder with a pool, and a store in it."""

    folder: Path
    endpoint: FakeEndpoint

    @property
    def store(self) -> Path:
        return self.folder / "runs.sqlite"

    @property
    def pool(self) -> Path:
        return self.folder / "pool.toml"

    def write_pool(self, **run: float) -> None:
        """A base LLM and six communities, all of which answer; `run` is the pool's table of that name."""
        text = 'base = "boss"\n'
        for name in ["boss", *NAMES]:
            self.endpoint.behave(name, "logprobs")
            text += f'[models.{name}]\nopenai = "{name}"\nbase_url = "{self.endpoint.address}"\napi_key_env = "KEY"\n'
        for name in NAMES:
            text += f'[communities.{name}]\nmodel = "{name}"\ndescription = "People like {name}"\n'
        settings = {"attempts": 1, "deadline": 60.0, **run}
        text += "[run]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())
        self.pool.write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        return {"KEY": KEY, "MODULAR_PLURALISM_STORE": str(self.store), "COLUMNS": "100"}

    def ask(self, run: str, mode: str = "overton") -> list[str]:
        """The arguments of `pluralism` that ask something and keep it."""
        return ["ask", "Is it so?", "--mode", mode, "--pool", str(self.pool), "--thread", run, "--json", *MODES[mode]]

    def asked(self) -> dict[str, int]:
        """How many requests each model has had."""
        return {name: len(self.endpoint.asked(name)) for name in ["boss", *NAMES]}

    def count(self, where: str) -> int:
        """How many comments are in the store."""
        try:
            with closing(sqlite3.connect(self.store)) as store:
                query = f"SELECT COUNT(*) FROM writes WHERE channel = 'comments' AND length(value) > 4 AND {where}"
                return int(store.execute(query).fetchone()[0])
        except sqlite3.Error:  # not made yet
            return 0

    def command(self, *arguments: str, **environment: str) -> Done:
        """The command in this process, with its exit code, standard output and error."""
        done = CliRunner().invoke(app, list(arguments), env={**self.environment, **environment})
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            return Done(1, done.stdout, f"{type(done.exception).__name__}: {done.exception}")
        return Done(done.exit_code, done.stdout, done.stderr)

    def result(self, *arguments: str) -> dict[str, Any]:
        """What a command that works prints as JSON."""
        done = self.command(*arguments)
        assert done.code == 0, done
        result: dict[str, Any] = json.loads(done.out)
        return result


def start_anew(monkeypatch: pytest.MonkeyPatch, clock: float) -> None:
    """As if the next command were in a process of its own, whose clock is that many seconds ahead."""
    monkeypatch.setattr(checkpoint_ids, "_last_v6_timestamp", None)
    monkeypatch.setattr(time, "time_ns", lambda: int((time.time() + clock) * 1e9))


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str
