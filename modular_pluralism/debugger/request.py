"""What somebody asks of the debugger: a run, or a fork of one."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from modular_pluralism.nodes.request import Request
from modular_pluralism.runs.edits import Edits


class RunRequest(Request):
    """A run. `pool` is a built-in name or a path, `prompts` a folder that is laid over the built-in prompts."""

    pool: str = "perspective"
    seed: int = 0
    prompts: str | None = None


class ForkRequest(BaseModel):
    """A fork of `run`, which has finished, failed or stopped.

    With a `step` (a superstep's number as `history.read_run` gives it), everything up to that step stays as it was,
    edited comments aside, and an edit that would change what was before it is refused. Without one, whatever depends on
    an edit is done anew, wherever it stands. In both cases a node whose prompt, model and input are unchanged is not
    run again: its output is the parent's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    step: int | None = None
    edits: Edits = Field(default_factory=Edits)
