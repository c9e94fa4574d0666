"""What an engine is made from, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from modular_pluralism.errors import InputError
from modular_pluralism.hardware import Hardware

GIB = 1 << 30


@dataclass(frozen=True)
class EngineSettings:
    """What an engine is made from; equal settings may share one engine.

    `context`: the most tokens of one sequence. `slots`: the most sequences at a time. `memory`: the most GiB for their
    KV cache, which is laid out at the start, `context` tokens for each slot. Without `slots` there are as many as the
    memory allows, up to 48; without `memory` either, half a GiB may be used, or as much as the weights take if that is
    more, but never more than half of what is free. `threads`: default, the physical cores that this process may use, or
    fewer while others take some of them (see `adapts_threads`).
    `queue`: the most requests that wait. `adapters`: every LoRA file that a request may name; llama.cpp wants them
    before the context is made. `reuse`: take tokens that are in the cache already from there. `repeatable`: a text then
    depends on nothing but its request, whatever else runs, at the price of up to half the speed of a sequence that runs
    alone (for weights in llama.cpp's Q formats). `audit`: compare the books with llama.cpp's after every step; for
    tests. `whole_copies`: when a prefix is copied with all the cells of its sequence, "always" or "never", for tests;
    without it, always where the cache lies on a GPU, and otherwise where half of the cells are taken. `hardware`: how
    the model is laid on the machine.
    """

    gguf: Path
    context: int = 2048
    slots: int | None = None
    memory: float | None = None
    threads: int | None = None
    queue: int = 4096
    adapters: tuple[Path, ...] = ()
    reuse: bool = True
    repeatable: bool = False
    audit: bool = False
    whole_copies: Literal["always", "never"] | None = None
    hardware: Hardware = field(default_factory=Hardware)

    def __post_init__(self) -> None:
        for name in ("context", "slots", "threads", "queue"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; use at least 1.")
        if self.memory is not None and not 0 < self.memory < float("inf"):
            raise InputError(f"memory is {self.memory}; give a number of GiB above 0.")

    @property
    def adapts_threads(self) -> bool:
        """Whether the engine takes fewer threads beside other work: not where their number is set, and not where it
        must not change a text, as it may in long sequences that run alone."""
        return self.threads is None and self.hardware.threads_batch is None and not self.repeatable


@dataclass
class EngineStats:
    """Counts since the engine was started, and what it has at present."""

    steps: int = 0
    decodes: int = 0
    tokens_read: int = 0
    """Tokens that went through the model, prompts and generated ones."""
    tokens_reused: int = 0
    """Prompt tokens that did not have to, because they were in the cache."""
    reuses: int = 0
    """Prompts of which some tokens were reused."""
    copies: int = 0
    """Reuses for which the tokens had to be copied from another sequence."""
    moves: int = 0
    """Sequences moved to lie beside those that they are decoded with."""
    tokens_generated: int = 0
    requests: int = 0
    failed: int = 0
    most_running: int = 0
    slots: int = 0
    """Sequences that there is memory for."""
    threads: int = 0
    """Threads of the next decode: fewer than at the start while other processes take cores."""
