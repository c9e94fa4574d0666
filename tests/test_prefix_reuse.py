"""Which tokens may be reused, and how the rest is read: each token by the kernel that its prompt gives it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.llama.chunks import LONG, WIDE, narrow_chunks, wide_chunk, wide_length
from modular_pluralism.llama.prefix_reuse import common_length, reusable_length

_TOKENS = st.lists(st.integers(0, 2), max_size=300)
_LENGTHS = st.integers(1, 900) | st.integers(LONG - 3, LONG + 3)


def _kernels(prompt: int, start: int, room: int, most: int = 512) -> list[str]:
    """Which kernel reads each token from `start` on: that for 64 tokens or more, that for a few, or that for one."""
    kernels: list[str] = []
    read = start
    while read < prompt:
        wide, left = wide_length(prompt), prompt - read
        count = wide_chunk(wide - read, room) if read < wide else narrow_chunks([left], most)[1] if left > 1 else 1
        kernels += ["wide" if count >= WIDE else "narrow" if count > 1 else "lone"] * count
        read += count
    assert read == prompt
    return kernels


@given(_LENGTHS, st.integers(1, 600), st.integers(4, 600))
def test_whole_64s_of_a_long_prompt_are_read_wide_and_everything_else_narrow(prompt: int, room: int, most: int) -> None:
    kernels = _kernels(prompt, 0, room, most)
    wide = wide_length(prompt)
    assert kernels[:wide] == ["wide"] * wide
    assert set(kernels[wide:]) <= ({"narrow"} if prompt - wide > 1 else {"lone"})


@given(st.integers(WIDE, 1500), st.integers(1, 600))
def test_a_wide_chunk_is_at_most_127_tokens_where_the_room_is_less(left: int, room: int) -> None:
    assert WIDE <= wide_chunk(left, room) <= max(room, 2 * WIDE - 1)


@given(st.lists(st.integers(2, 700), min_size=1, max_size=48), st.integers(4, 512))
def test_narrow_chunks_are_equal_and_leave_no_single_token(lefts: list[int], most: int) -> None:
    places, count = narrow_chunks(lefts, most)
    assert len(set(places)) == len(places) >= 1
    assert 2 <= count < WIDE
    assert len(places) * count <= most
    assert all(lefts[place] >= count and lefts[place] - count != 1 for place in places)


def test_as_many_tokens_together_as_can_be() -> None:
    assert narrow_chunks([60, 60, 60], 512) == ([0, 1, 2], 60)
    assert narrow_chunks([200, 3, 200], 512) == ([0, 2], 63)
    assert narrow_chunks([64], 512) == ([0], 62)


@given(_TOKENS, st.lists(st.integers(0, 2), max_size=300))
def test_common_length(one: list[int], other: list[int]) -> None:
    length = common_length(one, other)
    assert one[:length] == other[:length]
    assert length == min(len(one), len(other)) or one[length] != other[length]


@given(_LENGTHS, st.integers(0, 200), st.integers(0, 300), st.integers(0, 200), st.integers(1, 600), st.data())
def test_what_is_reused_was_read_as_it_would_be_read_anew(
    shared: int, of_cache: int, generated: int, tail: int, room: int, data: st.DataObject
) -> None:
    cached_prompt = [1] * shared + [7] * of_cache
    tokens = [1] * shared + [2] * tail
    first_output = data.draw(st.integers(0, len(tokens) - 1))
    cached = cached_prompt + [8] * generated
    start = reusable_length(cached, wide_length(len(cached_prompt)), tokens, first_output)
    assert 0 <= start <= min(common_length(cached, tokens), first_output)
    # A generated token, and one that was left over alone, is read as a narrow one in company.
    was = [kernel.replace("lone", "narrow") for kernel in _kernels(len(cached_prompt), 0, 512)] + ["narrow"] * generated
    fresh = _kernels(len(tokens), 0, room)
    assert was[:start] == fresh[:start]
    assert _kernels(len(tokens), start, room) == fresh[start:]


def test_a_prompt_that_is_in_the_cache_costs_two_tokens() -> None:
    tokens = list(range(100))
    assert reusable_length(tokens, 0, tokens, 99) == 98


def test_a_next_turn_reuses_the_reply_that_was_generated() -> None:
    first = list(range(600))
    reply = list(range(1000, 1020))
    assert reusable_length(first + reply, 576, [*first, *reply, 1, 2, 3], 622) == 620
    # Where the longer prompt has one more whole 64, its tokens have to be read again, wide.
    assert reusable_length(first + reply, 576, [*first, *reply, *range(900, 930)], 649) == 576
    # What was read as a short prompt is of no use to a long one.
    assert reusable_length(list(range(500)), 0, list(range(520)), 519) == 0
