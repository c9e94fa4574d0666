"""Whether an engine has been given back everything, as its callers see it."""

from __future__ import annotations

from queue import SimpleQueue

from modular_pluralism.llama import Engine, GenerationRequest, Sampling
from modular_pluralism.llama.generation import Event, Finish, Piece

_TOKENS = 40


def all_slots_are_free(engine: Engine) -> bool:
    """Whether requests run in all slots at once: each has said something before the first of them ends."""
    events: SimpleQueue[tuple[int, Event]] = SimpleQueue()
    prompt = tuple(engine.model.tokenize("Go", parse_special=False))
    for number in range(engine.stats.slots):
        request = GenerationRequest(prompt, _TOKENS, Sampling(seed=number), ignore_end=True)
        engine.submit_generation(request, lambda event, number=number: events.put((number, event)))  # type: ignore[misc]
    begun: set[int] = set()
    at_first_end = 0
    ended = 0
    while ended < engine.stats.slots:
        number, event = events.get(timeout=120)
        if isinstance(event, Piece):
            begun.add(number)
            continue
        assert isinstance(event, Finish), event
        ended += 1
        if ended == 1:
            at_first_end = len(begun)
    return at_first_end == engine.stats.slots
