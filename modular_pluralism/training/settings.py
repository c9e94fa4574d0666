"""How a community LM is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class TrainingSettings(BaseModel):
    """Settings of a training; the defaults are for a model of a hundred million parameters on a laptop.

    `rank` and `scale` are the LoRA's (what it adds is multiplied by scale), on all linear layers. `rate` is AdamW's
    highest learning rate: it rises over the first twentieth of the steps and falls to a tenth. `batch` counts items
    a step. There are `epochs` passes over the data, but at most `steps` steps; without `epochs`, there are two,
    more of few data (up to ten, until there are 120 steps), and at most 400 steps where `steps` says nothing. The
    held-out items are read every `check_every` steps; after `patience` readings without a new best one, training
    stops. `held_out` is the share of questions (or texts) that is held out, and `held_out_rows` the most items of
    these that are read. `mass_weight` is the weight of the term that keeps the probability on the letters, and
    `unnamed` the share of items whose population is not named, so that the community can also be read without one.
    `block` is how many tokens of text are read at once. An `activated` LoRA (Greenewald et al., arXiv 2504.12397) acts
    only from the model's own turn on: what is before, the base reads, once for all communities, and a step learns
    through a few tokens instead of a whole prompt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(default=16, ge=1, le=256)
    scale: float = Field(default=2.0, gt=0)
    rate: float = Field(default=1e-3, gt=0, lt=1)
    batch: int = Field(default=4, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    steps: int | None = Field(default=None, ge=1)
    check_every: int = Field(default=50, ge=1)
    patience: int = Field(default=4, ge=1)
    held_out: float = Field(default=0.1, gt=0, lt=1)
    held_out_rows: int = Field(default=96, ge=1)
    mass_weight: float = Field(default=0.1, ge=0)
    unnamed: float = Field(default=0.1, ge=0, le=1)
    block: int = Field(default=256, ge=8)
    activated: bool = False
    seed: int = Field(default=0, ge=0)


class Base(BaseModel):
    """The model that an adapter is made for: its file, what messages and cards call it, and how it is prompted.

    `start` is an adapter for it whose weights a training begins with, so that what many populations have in common need
    not be learnt again from a few answers of one.
    """

    model_config = ConfigDict(frozen=True)

    gguf: Path
    source: str
    template: bool = True
    context: int = 2048
    start: Path | None = None
    template_text: str | None = None
    template_kwargs: dict[str, Any] = {}
