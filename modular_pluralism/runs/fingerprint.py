"""Whether a pool and its prompts are still what they were when a run began."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from modular_pluralism.pool import Pool, without_password
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Voice

_OTHER_USES = ("judge", "baseline")
"""Modes of prompts that no run of `pluralism ask` uses."""

_VOTES = ("vote", "vote_group", "vote_text", "vote_group_text")


def pool_fingerprint(pool: Pool, prompts: PromptSet) -> str:
    """Of the pool's tables and its personas' texts: not of model files, nor of a password in an address."""
    tables = pool.model_dump(mode="json", exclude={"folder", "name"})
    for model in tables["models"].values():
        if "base_url" in model:
            model["base_url"] = without_password(model["base_url"])
    return _digest([tables, {name: pool.persona_text(name, prompts) for name in pool.communities}])


def prompts_fingerprint(prompts: PromptSet, voice: Voice) -> str:
    """Of the texts that the modes use with this voice of the communities."""
    names = [name for name in prompts if prompts[name].mode not in _OTHER_USES]
    if voice == "comment":  # nobody votes
        names = [name for name in names if name not in _VOTES]
    return _digest({name: prompts[name].text for name in names})


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
