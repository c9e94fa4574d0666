"""How many sequences a model may run at once: what the settings and the memory of the devices allow."""

from __future__ import annotations

from llama_cpp import llama_cpp as native

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.llama.devices import gpus
from modular_pluralism.llama.host import usable_memory
from modular_pluralism.llama.memory import HOST, MemoryPlan
from modular_pluralism.llama.parameters import OUTPUTS
from modular_pluralism.llama.settings import GIB, EngineSettings

_LEAST_BUDGET = GIB // 2
_MOST_SLOTS = 48


def affordable_slots(settings: EngineSettings, plan: MemoryPlan, length: int, *, loaded: bool = True) -> int:
    """How many sequences of up to `length` tokens the settings and the memory allow, once the weights are `loaded` or
    before.

    Raises:
        ModelLoadError: not even one.
    """
    each = plan.cache
    wanted, free = settings.slots, _room(settings, plan, loaded)
    if settings.memory is not None:
        budget = int(settings.memory * GIB)
    elif wanted is not None:
        budget = wanted * each
    else:
        budget = max(_LEAST_BUDGET, plan.weights, each)
        budget = budget if free is None else min(budget, max(free // 2, each))
    most: int = native.llama_max_parallel_sequences()
    slots = min(wanted or _MOST_SLOTS, budget // each, most, OUTPUTS)
    needed = max(slots, 1) * each
    if slots < 1 or (free is not None and needed > free):
        has = f"{budget / GIB:.2f} GiB are allowed" if slots < 1 else f"{(free or 0) / GIB:.2f} GiB are free"
        raise ModelLoadError(
            f"{max(slots, 1)} x {length} tokens of {settings.gguf.name} need {needed / GIB:.2f} GiB of cache, and "
            f"{has}; lower context or slots, or raise memory, in the pool file."
        )
    return slots


def _room(settings: EngineSettings, plan: MemoryPlan, loaded: bool) -> int | None:
    """Bytes that are free for the cache, where each device takes its share of it, as far as is known."""
    free = {device.name: device.free for device in gpus() if device.free}
    on_host = usable_memory()
    if on_host is not None:
        free[HOST] = on_host
    if not loaded:
        mapped = {HOST} if settings.hardware.mmap else set()  # such weights can be dropped, and so count as free
        free = {name: size - (0 if name in mapped else plan.on(name).weights) for name, size in free.items()}
    return plan.room_for_cache(free)
