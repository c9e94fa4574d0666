"""Which slot a prompt gets, and where sequences lie that are decoded together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.llama.chunks import wide_length
from modular_pluralism.llama.generation import GenerationJob, GenerationRequest
from modular_pluralism.llama.job import Adapter, Track
from modular_pluralism.llama.slot_layout import in_turn, is_contiguous, moves_to_contiguous
from modular_pluralism.llama.slots import Checkpoint, Choice, Memory, Slot, choose

_LEFT = Adapter(Path("left.gguf"))
_NO_MODEL: Any = None


def _track(tokens: list[int], adapter: Adapter | None = None) -> Track:
    request = GenerationRequest(tuple(tokens), adapter=adapter)
    track = GenerationJob(request, _NO_MODEL, 1000, lambda event: None).next_track()
    assert track is not None
    return track


def _slot(number: int, cached: list[int], **more: Any) -> Slot:
    return Slot(number, list(cached), wide_length(len(cached)), last_used=more.pop("last_used", number), **more)


def _busy(number: int, prompt: list[int], read: int) -> Slot:
    track = _track(prompt)
    track.read = read
    return _slot(number, prompt[:read], job=track.job, track=track)


def test_the_slot_with_the_longest_shared_prefix_is_taken() -> None:
    text = list(range(200))
    slots = [_slot(0, []), _slot(1, text[:70]), _slot(2, text[:190])]
    assert choose(slots, _track(text)) == Choice(slots[2], 190, None)


def test_without_anything_shared_the_one_used_longest_ago_is_taken() -> None:
    slots = [_slot(0, [1] * 50, last_used=5), _slot(1, [2] * 50, last_used=3), _slot(2, [3] * 50, last_used=4)]
    assert choose(slots, _track([9] * 40)) == Choice(slots[1], 0, None)


def test_a_long_cache_is_copied_rather_than_cut() -> None:
    text = list(range(1000))
    text = text * 2
    slots = [_slot(0, []), _slot(1, text)]
    assert choose(slots, _track([*text[:550], *range(5000, 5070)])) == Choice(slots[0], 512, slots[1])


def test_what_a_running_request_has_read_is_copied() -> None:
    text = list(range(200))
    slots = [_busy(0, text, 200), _slot(1, [])]
    assert choose(slots, _track(text)) == Choice(slots[1], 198, slots[0])


def test_a_prompt_that_is_just_being_read_is_waited_for() -> None:
    text = list(range(200))
    slots = [_busy(0, text, 64), _slot(1, [])]
    assert choose(slots, _track(text)) is None
    assert choose(slots, _track(list(range(300, 500)))) == Choice(slots[1], 0, None)


def test_another_adapters_tokens_are_no_use() -> None:
    text = list(range(200))
    slots = [_slot(0, text, adapter=_LEFT), _slot(1, [])]
    assert choose(slots, _track(text)) == Choice(slots[0], 0, None)
    assert choose(slots, _track(text, _LEFT)) == Choice(slots[0], 198, None)


def test_nothing_is_chosen_where_all_are_busy() -> None:
    assert choose([_busy(0, [1, 2, 3], 1)], _track([5, 6])) is None


@given(st.data())
def test_groups_come_to_lie_side_by_side(data: st.DataObject) -> None:
    slots = data.draw(st.integers(1, 24))
    places = data.draw(st.permutations(range(slots)))[: data.draw(st.integers(0, slots))]
    groups: list[list[int]] = [[] for _ in range(data.draw(st.integers(1, 5)))]
    for place in places:
        groups[data.draw(st.integers(0, len(groups) - 1))].append(place)
    moves = moves_to_contiguous(groups, slots)
    after = [[moves.get(place, place) for place in group] for group in groups]
    assert all(is_contiguous(group) for group in after)
    taken = [place for group in after for place in group]
    assert len(set(taken)) == len(taken)
    assert all(0 <= place < slots for place in taken)
    if all(is_contiguous(group) for group in groups) and len([group for group in groups if group]) == 1:
        assert moves == {}


@given(st.data())
def test_moves_in_turn_do_the_same_as_all_at_once(data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, 9), unique=True))
    moves = dict(zip(places, data.draw(st.permutations(range(10))), strict=False))
    one_by_one, rest = in_turn(moves)
    held = dict(zip(range(10), range(10), strict=True))
    for source, target in one_by_one:
        held[target] = held[source]
    held |= {target: source for source, target in rest.items()}
    assert held == dict(zip(range(10), range(10), strict=True)) | {target: source for source, target in moves.items()}
    assert set(rest) == set(rest.values())


def test_a_gap_is_filled_with_one_move() -> None:
    assert moves_to_contiguous([[0, 1, 2, 4, 5, 6]], 8) in ({6: 3}, {0: 3})


_WINDOWS = Memory(window=16)
_RECURRENT = Memory(recurrent=True)


def test_windows_are_cut_only_where_they_still_hold_what_is_seen_from_there() -> None:
    text = list(range(200))
    slot = _slot(0, text, memory=_WINDOWS, held_from=100)
    assert slot.reusable(_track([*text[:150], *range(500, 510)])) == 150
    assert slot.reusable(_track([*text[:116], *range(500, 510)])) == 116
    assert slot.reusable(_track([*text[:115], *range(500, 510)])) == 0


def test_a_copy_of_windows_holds_one_window_only() -> None:
    text = list(range(200))
    slot = _slot(0, text, memory=_WINDOWS)
    longer = _track([*text, *range(500, 510)])
    branch = _track([*text[:150], *range(500, 510)])
    assert (slot.reusable(longer), slot.reusable(longer, copied=True)) == (200, 200)
    assert (slot.reusable(branch), slot.reusable(branch, copied=True)) == (150, 0)
    # So it runs in place, although a copy is what would be made of a memory that can be cut anywhere.
    assert choose([slot, _slot(1, [])], branch) == Choice(slot, 150, None)


def test_a_recurrent_state_goes_back_to_its_checkpoints_alone() -> None:
    text = list(range(200))
    slot = _slot(0, text, memory=_RECURRENT, checkpoints=[Checkpoint(60, bytearray()), Checkpoint(120, bytearray())])
    assert slot.reusable(_track([*text, 7, 7])) == 200
    assert slot.reusable(_track([*text[:150], 7, 7])) == 120
    assert slot.reusable(_track([*text[:100], 7, 7])) == 60
    assert slot.reusable(_track([*text[:50], 7, 7])) == 0
    slot.keep(100)
    assert [checkpoint.length for checkpoint in slot.checkpoints] == [60]


def test_a_prompt_waits_for_one_that_can_still_keep_a_checkpoint_for_it() -> None:
    text = list(range(300))
    branch = [*text[:200], *range(500, 510)]
    for read, waits in ((100, True), (250, False)):
        busy = _busy(0, text, read)
        busy.memory = _RECURRENT
        assert (choose([busy, _slot(1, [])], _track(branch)) is None) == waits


def test_a_track_is_read_up_to_its_next_stop() -> None:
    track = _track(list(range(100)))
    track.stops = {40, 80}
    for read, left in ((0, 40), (39, 41), (40, 40), (79, 21), (80, 20)):
        track.read = read
        assert track.until_stop() == left
