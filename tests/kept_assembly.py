"""Assemblies of fake models that the command keeps in a store."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import modular_pluralism.cli.run_graph
from modular_pluralism.cli.app import app
from modular_pluralism.errors import ModelCallError
from modular_pluralism.models.pool_models import PoolModels
from tests.fake_models import FakeChat, FakeChatWithLogprobs, Seen

QUESTION = "Should a city ban cars from its centre?"
MEMBERS = ("north", "east", "south")
LIKES = {
    "north": {"base": 0.2, "merge": 0.3, "north": 0.45, "east": 0.05, "south": 0.1},
    "east": {"base": 0.3, "merge": 0.25, "north": 0.1, "east": 0.35, "south": 0.2},
    "south": {"base": 0.25, "merge": 0.3, "north": 0.2, "east": 0.05, "south": 0.25},
}
RULES = """
[rules.short]
strength = "must"
verify = { words = { max = 60 } }

[rules.no_promise]
text = "Promises nothing."
source = "minutes of 1 November, item 4"
"""


class KeptAssembly:
    """A folder with a pool, a contract and a store, and what its models write: `drafts` by candidate, `views` by
    member. A draft that is an error cannot be written, and a member whose view is one is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drafts: dict[str, str | Exception] = {name: f"The draft {name}." for name in ("base", "merge", *MEMBERS)}
        self.views: dict[str, str | Exception] = {name: f"The view of {name}." for name in MEMBERS}
        self.likes: Mapping[str, Mapping[str, float]] = LIKES
        text = 'base = "boss"\n'
        for name in ("boss", *MEMBERS):
            text += f'[models.{name}]\nopenai = "{name}"\nbase_url = "http://127.0.0.1:9/v1"\n'
        for name in MEMBERS:
            text += f'[communities.{name}]\nmodel = "{name}"\ndescription = "d"\n'
        self.pool.write_text(f"{text}[run]\nattempts = 1\nquorum = 1\n")
        (folder / "rules.toml").write_text(RULES)

    @property
    def pool(self) -> Path:
        return self.folder / "pool.toml"

    def ask(self, run: str, *more: str) -> None:
        """Keep a run of assembly mode."""
        self.command("ask", QUESTION, "--mode", "assembly", "--pool", str(self.pool), "--thread", run, *more)

    def minutes(self, run: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.command("minutes", run, "--json"))
        return told

    def page(self, run: str) -> Path:
        path = self.folder / f"{run}.html"
        self.command("minutes", run, "--out", str(path))
        return path

    def command(self, *arguments: str) -> str:
        """What the command prints, which has to work."""
        done = self.tried(*arguments)
        if done.exception is not None:
            raise done.exception
        return str(done.stdout)

    def tried(self, *arguments: str) -> Any:
        store = str(self.folder / "runs.sqlite")
        with self._models():
            return CliRunner().invoke(app, [*arguments, "--store", store], env={"COLUMNS": "160"})

    @contextmanager
    def _models(self) -> Iterator[None]:
        members = {name: self._member(name) for name in MEMBERS}
        models = {"boss": FakeChat(say=self._draft), **members}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(modular_pluralism.cli.run_graph, "open_models", lambda pool, *_: PoolModels(pool, models))
            yield

    def _draft(self, seen: Seen) -> str | Exception:
        if "Comments from several" in seen.prompt:
            return self.drafts["merge"]
        return self.drafts[next((name for name in MEMBERS if f"of {name}." in seen.prompt), "base")]

    def _member(self, name: str) -> FakeChatWithLogprobs:
        def say(seen: Seen) -> str | Exception:
            return "A" if seen.settings.get("logprobs") else self.views[name]

        def prefer(seen: Seen) -> dict[str, float]:
            if "Rule:" in seen.prompt:
                return {"A": 0.5, "B": 0.3, "C": 0.2}
            begun = {str(text).split("\n")[0][:20]: draft for draft, text in self.drafts.items()}
            shares = {
                letter: self.likes[name][draft]
                for letter, line in re.findall(r"^([A-Z])\. (.*)$", seen.prompt, re.M)
                for begin, draft in begun.items()
                if line.startswith(begin)
            }
            return {letter: share / sum(shares.values()) for letter, share in shares.items()}

        return FakeChatWithLogprobs(say=say, prefer=prefer)


NO_ROOM = ModelCallError("no room")
