"""What a run was asked and of whom: all that is needed to go on with it later."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from modular_pluralism.errors import StoreError
from modular_pluralism.nodes.evidence import told_prompts
from modular_pluralism.nodes.request import check_voice
from modular_pluralism.pool import Pool
from modular_pluralism.pools import BUILT_IN_POOLS
from modular_pluralism.prompts import PromptSet
from modular_pluralism.runs.edits import Edited, Edits, Origin, apply_edits
from modular_pluralism.runs.model_files import model_digests
from modular_pluralism.table import without_password
from modular_pluralism.types import Mode, Scoring, Voices

_OTHER_USES = ("judge", "baseline")
"""Modes of prompts that no run of `pluralism ask` uses."""

_OF_PERSONAS = "described_persona"
"""What a pool's fingerprint has already."""

_VOTES = ("vote", "vote_group", "vote_text", "vote_group_text")


class Setup(BaseModel):
    """`asked` is the graph's input. `pool` is a built-in name or an absolute path, and `prompts` the folder that was
    laid over the built-in ones. `model_files` are digests of the files that the pool names. Of a fork, `edits` are all
    that tells it from a run with this pool and these prompts, and `origin` is where it comes from. No key is in here: a
    pool knows only the names of variables."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode
    scoring: Scoring
    voice: Voices = "comment"
    asked: dict[str, Any]
    pool: str
    pool_name: str
    pool_fingerprint: str
    communities: list[str]
    prompts: str | None
    prompts_fingerprint: str
    model_files: dict[str, str] = Field(default_factory=dict)
    edits: Edits = Field(default_factory=Edits)
    origin: Origin | None = None

    @classmethod
    def of(
        cls,
        mode: Mode,
        scoring: Scoring,
        asked: dict[str, Any],
        pool: tuple[str, Pool],
        prompts: tuple[Path | None, PromptSet],
        *,
        voice: Voices = "comment",
    ) -> Setup:
        """The setup of a run; pool and prompts come with what the user called them."""
        named, loaded = pool
        folder, texts = prompts
        return cls(
            mode=mode,
            scoring=scoring,
            voice=check_voice(voice),
            asked=asked,
            pool=named if named in BUILT_IN_POOLS else str(Path(named).absolute()),
            pool_name=loaded.name,
            pool_fingerprint=_pool_fingerprint(loaded, texts),
            communities=list(loaded.communities),
            prompts=None if folder is None else str(folder.absolute()),
            prompts_fingerprint=_prompts_fingerprint(loaded, texts, check_voice(voice)),
        )

    def with_model_files(self, pool: Pool) -> Setup:
        """With digests of the pool's model files as they are now: once its models are opened, all are here."""
        return self.model_copy(update={"model_files": model_digests(pool)})

    def load(self, *, anyway: bool = False, remedy: str = "") -> Edited:
        """The pool, the prompts and the comments that are known before the run, as they are now, for going on with it.

        `remedy` is what else can be done where something has changed, for the message.

        Raises:
            StoreError: they, or the pool's model files, are not what they were, unless `anyway`; with another set of
                communities, always.
            PoolError, PromptError: they cannot be read any more.
            InputError: the pool has changed so that the edits of this fork do not fit it.
        """
        prompts = PromptSet.load(None if self.prompts is None else Path(self.prompts))
        pool = Pool.load(self.pool)
        edited = apply_edits(pool, prompts, self.edits)
        if list(edited.pool.communities) != self.communities:
            raise StoreError(
                f"The pool {self.pool} has other communities than when this run began ({', '.join(self.communities)}); "
                "put it back as it was, or ask anew."
            )
        changed = []
        if _pool_fingerprint(pool, prompts) != self.pool_fingerprint:
            changed.append(f"the pool {self.pool}")
        if _prompts_fingerprint(pool, prompts, self.voice) != self.prompts_fingerprint:
            changed.append("the prompts" if self.prompts is None else f"the prompts in {self.prompts}")
        now = model_digests(pool)
        changed += [f"the file {name}" for name, was in self.model_files.items() if now.get(name, was) != was]
        if changed and not anyway:
            raise StoreError(
                f"{_begun(changed)} changed since this run began, so the rest of it would be another "
                f"run's; put that back as it was{remedy}."
            )
        return edited


def _begun(changed: list[str]) -> str:
    what = " and ".join(changed)
    return f"{what[0].upper()}{what[1:]} {'have' if len(changed) > 1 or 'prompts' in what else 'has'}"


def _pool_fingerprint(pool: Pool, prompts: PromptSet) -> str:
    """Of the pool's tables, its personas' and templates' texts: not of an address's password."""
    tables = pool.model_dump(mode="json", exclude={"folder", "name"})
    for model in tables["models"].values():
        if "base_url" in model:
            model["base_url"] = without_password(model["base_url"])
    personas = {name: pool.persona_text(name, prompts) for name in pool.communities}
    templates = pool.template_texts()
    return _digest([tables, personas, *([templates] if templates else [])])


def _prompts_fingerprint(pool: Pool, prompts: PromptSet, voice: Voices) -> str:
    """Of the texts that the modes use with this pool and this voice of the communities."""
    voices = voice.split(",")
    known = told_prompts(pool, prompts, comments="comment" in voices)
    names = [name for name in known if prompts[name].mode not in _OTHER_USES and name != _OF_PERSONAS]
    if "vote" not in voices:
        names = [name for name in names if name not in _VOTES]
    return _digest({name: prompts[name].text for name in names})


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
