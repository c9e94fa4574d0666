"""TextStream: whole characters only, cut at the stop string that is complete first, however the bytes come."""

from __future__ import annotations

import codecs
import itertools

from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.llama.text_stream import TextStream

_TEXTS = st.text(st.sampled_from("ab<|é日🙂\n "), max_size=30) | st.text(max_size=30)
_STOPS = st.lists(st.text(st.sampled_from("ab<|é日🙂"), min_size=1, max_size=4) | st.text(min_size=1), max_size=4)


def _streamed(data: bytes, cuts: list[int], stop: list[str]) -> tuple[list[str], bool]:
    """What a TextStream gives out, piece by piece, and whether it met a stop string."""
    stream, pieces = TextStream(stop), []
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(bounds):
        pieces.append(stream.feed(data[start:end]))
        if stream.stopped:
            break
    pieces.append(stream.finish())
    return pieces, stream.stopped


def _cut(text: str, stop: list[str]) -> str:
    """The text before the stop string that is complete first; the longest, where several end together."""
    for end in range(1, len(text) + 1):
        lengths = [len(each) for each in stop if text[:end].endswith(each)]
        if lengths:
            return text[: end - max(lengths)]
    return text


@given(text=_TEXTS, cuts=st.lists(st.integers(0, 200)), stop=_STOPS)
def test_text_is_cut_at_the_first_complete_stop_string(text: str, cuts: list[int], stop: list[str]) -> None:
    text = text.encode("utf-8", "replace").decode()
    stop = [each.encode("utf-8", "replace").decode() for each in stop]
    pieces, stopped = _streamed(text.encode(), cuts, stop)
    assert "".join(pieces) == _cut(text, stop)
    assert stopped == any(each in text for each in stop)


@given(text=_TEXTS, cuts=st.lists(st.integers(0, 200)))
def test_valid_utf8_never_shows_a_replacement_character(text: str, cuts: list[int]) -> None:
    text = text.encode("utf-8", "replace").decode().replace("\ufffd", "")
    pieces, _ = _streamed(text.encode(), cuts, [])
    assert "\ufffd" not in "".join(pieces)


@given(data=st.binary(max_size=40), cuts=st.lists(st.integers(0, 60)))
def test_any_bytes_decode_as_they_would_at_once(data: bytes, cuts: list[int]) -> None:
    pieces, _ = _streamed(data, cuts, [])
    assert "".join(pieces) == codecs.getincrementaldecoder("utf-8")("replace").decode(data)


@given(text=_TEXTS, last=st.sampled_from("é日🙂"), left_out=st.integers(1, 3), cuts=st.lists(st.integers(0, 200)))
def test_a_character_cut_off_at_the_end_is_dropped(text: str, last: str, left_out: int, cuts: list[int]) -> None:
    text = text.encode("utf-8", "replace").decode()
    data = last.encode()
    pieces, _ = _streamed(text.encode() + data[: max(1, len(data) - left_out)], cuts, [])
    assert "".join(pieces) == text


def test_text_is_given_out_as_soon_as_it_can_be_no_stop_string() -> None:
    stream = TextStream(["<end>"])
    assert stream.feed(b"one <") == "one "
    assert stream.feed(b"e") == ""
    assert stream.feed(b"l") == "<el"
    assert not stream.stopped


def test_the_result_does_not_depend_on_the_cuts_where_stop_strings_overlap() -> None:
    for cuts in ([], [1], [2], [3], [1, 2, 3]):
        assert "".join(_streamed(b"abcd", cuts, ["abcd", "bc"])[0]) == "a"
        assert "".join(_streamed(b"abcd", cuts, ["abc", "bc"])[0]) == ""
