"""How a model is laid on the machine: the keys of a pool's model that llama-server has as options, by its names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from modular_pluralism.table import Table

CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]
"""The formats in which llama.cpp keeps keys and values."""

PLACEMENT = frozenset(
    {
        *("gpu_layers", "split_mode", "tensor_split", "main_gpu", "cpu_moe", "override_tensors"),
        *("mmap", "mlock", "ubatch", "threads_batch", "swa_full"),
    }
)
"""Keys that say where and how fast a model is computed, and not what."""

_MOST_SCALE, _MOST_BASE = 1024.0, 1e15
"""llama.cpp reckons positions in single precision, in which larger ones are nothing or infinite."""


class Hardware(Table):
    """Where a model's weights and cache lie and how they are computed; equal values may share one engine.

    `gpu_layers`: how many layers lie on GPUs, or "all", or "auto": as many as their free memory holds, none without a
    GPU. `split_mode`, `tensor_split`, `main_gpu`: how several GPUs share them ("layer", "row" or "none", which uses
    `main_gpu` alone; one proportion for each GPU). `cpu_moe`: the experts of a mixture stay in the host's memory.
    `override_tensors`: "PATTERN=BUFFER", where tensors whose names match lie, such as "ffn_.*_exps=CPU".
    `flash_attention`: "auto", "on" or "off". `cache_type_k`, `cache_type_v`: the format of cached keys and values;
    "q8_0" takes about half the memory of "f16". `swa_full`: keep what sliding windows have left behind, which takes
    more memory and lets every prefix be reused. `mmap`: map the file instead of reading it; `mlock`: keep it from being
    swapped out. `ubatch`: the most tokens that are computed at once. `threads_batch`: threads that read prompts, where
    they are to be others than `threads`. `rope_scaling`, `rope_scale`, `rope_freq_base`: how positions beyond the
    trained context are computed; `rope_scale` is the factor by which the context grows.
    """

    gpu_layers: Annotated[int, Field(ge=0, le=100_000)] | Literal["auto", "all"] = "auto"
    split_mode: Literal["none", "layer", "row"] = "layer"
    tensor_split: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = ()
    main_gpu: Annotated[int, Field(ge=0, le=1000)] = 0
    cpu_moe: bool = False
    override_tensors: tuple[str, ...] = ()
    flash_attention: Literal["auto", "on", "off"] = "auto"
    cache_type_k: CacheType = "f16"
    cache_type_v: CacheType = "f16"
    swa_full: bool = False
    mmap: bool = True
    mlock: bool = False
    ubatch: Annotated[int, Field(ge=64, le=65_536)] = 512
    threads_batch: Annotated[int, Field(ge=1, le=1024)] | None = None
    rope_scaling: Literal["none", "linear", "yarn"] | None = None
    rope_scale: Annotated[float, Field(ge=1, le=_MOST_SCALE)] | None = None
    rope_freq_base: Annotated[float, Field(ge=1, le=_MOST_BASE)] | None = None

    @field_validator("gpu_layers", mode="before")
    @classmethod
    def _check_gpu_layers(cls, layers: object) -> object:
        if layers in ("auto", "all") or (isinstance(layers, int) and not isinstance(layers, bool) and layers >= 0):
            return layers
        raise ValueError("must be 'auto', 'all' or a number of layers")

    @field_validator("tensor_split", "override_tensors", mode="before")
    @classmethod
    def _list_as_tuple(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            raise ValueError("must be a list in brackets")
        return tuple(value)

    @field_validator("override_tensors")
    @classmethod
    def _check_overrides(cls, overrides: tuple[str, ...]) -> tuple[str, ...]:
        for override in overrides:
            pattern, equals, buffer = override.rpartition("=")
            if not (pattern and equals and buffer):
                raise ValueError("must be texts such as 'ffn_.*_exps=CPU'")
        return overrides

    @property
    def hardware(self) -> Hardware:
        """These keys alone, of a table that has more."""
        return Hardware(**{name: getattr(self, name) for name in Hardware.model_fields})

    @property
    def computed(self) -> dict[str, object]:
        """The keys by which a model computes something else than without them, and their values."""
        return {
            name: getattr(self, name)
            for name, field in Hardware.model_fields.items()
            if name not in PLACEMENT and getattr(self, name) != field.default
        }
