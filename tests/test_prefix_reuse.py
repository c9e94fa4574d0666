"""Which tokens may be reused, and how the rest is read: each token by the kernel that its prompt gives it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.llama.prefix_reuse import WIDE, common_length, next_chunk, reusable_length, wide_length

_TOKENS = st.lists(st.integers(0, 2), max_size=300)


def _kernels(prompt: int, start: int, room: int) -> list[str]:
    """Which kernel reads each token from `start` on: that for 64 tokens or more, that for a few, or that for one."""
    kernels = []
    read = start
    while read < prompt:
        count = next_chunk(read, prompt, room)
        kernels += ["wide" if count >= WIDE else "narrow" if count > 1 else "lone"] * count
        read += count
    assert read == prompt
    return kernels


@given(st.integers(1, 1500), st.integers(1, 600))
def test_whole_64s_are_read_wide_and_the_rest_narrow_whatever_the_room(prompt: int, room: int) -> None:
    kernels = _kernels(prompt, 0, room)
    wide = wide_length(prompt)
    assert kernels[:wide] == ["wide"] * wide
    assert "wide" not in kernels[wide:]


@given(st.integers(1, 1500), st.integers(1, 600))
def test_a_chunk_is_at_most_127_tokens_longer_than_the_room(prompt: int, room: int) -> None:
    read = 0
    while read < prompt:
        count = next_chunk(read, prompt, room)
        assert 1 <= count <= max(room, 2 * WIDE - 1)
        read += count


@given(_TOKENS, st.lists(st.integers(0, 2), max_size=300))
def test_common_length(one: list[int], other: list[int]) -> None:
    length = common_length(one, other)
    assert one[:length] == other[:length]
    assert length == min(len(one), len(other)) or one[length] != other[length]


@given(
    st.lists(st.integers(0, 1), min_size=1, max_size=300),
    st.integers(0, 300),
    st.lists(st.integers(0, 1), min_size=1, max_size=300),
    st.integers(0, 300),
    st.integers(1, 300),
    st.data(),
)
def test_what_is_reused_was_read_as_it_would_be_read_anew(
    shared: list[int], of_cache: int, tail: list[int], generated: int, room: int, data: st.DataObject
) -> None:
    cached_prompt = shared + [7] * of_cache
    tokens = shared + tail
    first_output = data.draw(st.integers(0, len(tokens) - 1))
    cached = cached_prompt + [8] * generated
    start = reusable_length(cached, wide_length(len(cached_prompt)), tokens, first_output)
    assert 0 <= start <= min(common_length(cached, tokens), first_output)
    cached_kernels = _kernels(len(cached_prompt), 0, 512)
    fresh, after_reuse = _kernels(len(tokens), 0, room), _kernels(len(tokens), start, room)
    # A lone token is read as in a decode of several: only reuse must not make one where there was none.
    assert [kernel.replace("lone", "narrow") for kernel in cached_kernels[:start]] == fresh[:start]
    assert after_reuse == fresh[start:]


def test_a_prompt_that_is_in_the_cache_costs_two_tokens() -> None:
    tokens = list(range(100))
    assert reusable_length(tokens, 64, tokens, 99) == 98


def test_a_next_turn_reuses_the_reply_that_was_generated() -> None:
    first = list(range(100))
    reply = list(range(500, 520))
    assert reusable_length(first + reply, 64, [*first, *reply, 1, 2, 3], 122) == 120
    # Where the longer prompt has one more whole 64, its tokens have to be read again, wide.
    assert reusable_length(first + reply, 64, [*first, *reply, *range(900, 930)], 149) == 64
