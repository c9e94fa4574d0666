"""What somebody asks of the debugger: a run, or a fork of one."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from modular_pluralism.errors import InputError
from modular_pluralism.nodes.check import check_attribute, check_options, check_question, check_seed
from modular_pluralism.runs.edits import Edits
from modular_pluralism.types import Mode, Scoring, Voice


class RunRequest(BaseModel):
    """A run. `pool` is a built-in name or a path, `prompts` a folder that is laid over the built-in prompts.

    `attribute` is for steerable and distributional mode; `options` for those, too, and distributional needs them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    mode: Mode = "overton"
    pool: str = "perspective"
    attribute: str | None = None
    options: list[str] | None = None
    scoring: Scoring = "rotate"
    voice: Voice = "comment"
    seed: int = 0
    prompts: str | None = None

    def asked(self) -> dict[str, Any]:
        """The graph's input.

        Raises:
            InputError: a part is missing or unusable, or is not for this mode.
        """
        check_question(self.question)
        check_seed(self.seed)
        asked: dict[str, Any] = {"question": self.question, "seed": self.seed}
        if self.mode == "steerable" or (self.mode == "distributional" and self.attribute is not None):
            check_attribute(self.attribute)
            asked["attribute"] = self.attribute
        elif self.attribute is not None:
            raise InputError("An attribute is for steerable and distributional mode; leave it out, or choose those.")
        if self.mode == "distributional" or (self.mode == "steerable" and self.options):
            check_options(self.options, distinct=True)
            asked["options"] = list(self.options or ())
        elif self.options:
            raise InputError("Options are for steerable and distributional mode; leave them out, or choose those.")
        if self.voice != "comment" and self.mode != "distributional":
            raise InputError("A voice is for distributional mode; leave it out, or choose that.")
        return asked


class ForkRequest(BaseModel):
    """A fork of `run`, which has finished, failed or stopped.

    With a `step` (a superstep's number as `history.read_supersteps` gives it), everything up to that step stays as it
    was, edited comments aside, and an edit that would change what was before it is refused. Without one, whatever
    depends on an edit is done anew, wherever it stands. In both cases a node whose prompt, model and input are
    unchanged is not run again: its output is the parent's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    step: int | None = None
    edits: Edits = Field(default_factory=Edits)
