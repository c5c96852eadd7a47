"""Frames from a cell: hostile bytes, however they are cut."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrunner.sandbox.frames import FrameError, FrameReader, ReplyTooLargeError, encode
from toolrunner.sandbox.inside import protocol


def frame(kind: bytes, body: bytes) -> bytes:
    """Return a frame as a cell sends it."""
    return struct.pack(">cI", kind, len(body)) + body


@given(st.data())
def test_frames_come_out_whole_however_they_are_cut(data: st.DataObject) -> None:
    """Chunks have nothing to do with frames."""
    stream = frame(b"c", b"{}") + frame(b"l", b"{}") + frame(b"P", b"xx") + frame(b"R", b"abc")
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    reader = FrameReader(100)
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += list(reader.feed(stream[start:end]))
    assert found == [(b"c", b"{}"), (b"l", b"{}"), (b"P", b"xx"), (b"R", b"abc")]
    assert not reader.truncated()


def test_a_reply_of_exactly_the_cap_passes() -> None:
    """The limit itself is still inside."""
    assert list(FrameReader(3).feed(frame(b"R", b"abc"))) == [(b"R", b"abc")]


def test_a_larger_reply_is_refused_by_its_header_alone() -> None:
    """Nothing of it has to be stored to know that."""
    with pytest.raises(ReplyTooLargeError) as caught:
        list(FrameReader(3).feed(struct.pack(">cI", b"R", 4_000_000_000)))
    assert caught.value.size == 4_000_000_000


@pytest.mark.parametrize("kind", [b"L", b"Q", b"?", b"\x00", b"r"])
def test_an_unknown_kind_is_refused(kind: bytes) -> None:
    """The parent's own kinds are none of a cell's."""
    with pytest.raises(FrameError, match="unknown kind"):
        list(FrameReader(100).feed(frame(kind, b"{}")))


@pytest.mark.parametrize("kind", [protocol.RETURNED, protocol.RAISED, protocol.UNSERIALIZABLE])
def test_bytes_after_a_reply_are_refused(kind: bytes) -> None:
    """A second reply, or anything else, is no reply."""
    reader = FrameReader(100)
    with pytest.raises(FrameError, match="after the reply"):
        list(reader.feed(frame(kind, b"{}") + b"\x00"))
    later = FrameReader(100)
    assert len(list(later.feed(frame(kind, b"{}")))) == 1
    with pytest.raises(FrameError, match="after the reply"):
        list(later.feed(b"R"))


def test_half_a_frame_is_seen_as_truncated() -> None:
    """What ends in the middle was cut off."""
    reader = FrameReader(100)
    assert list(reader.feed(frame(b"R", b"abcdef")[:-1])) == []
    assert reader.truncated()


def test_progress_is_bounded_in_all() -> None:
    """Small frames without end would keep the parent busy."""
    reader = FrameReader(100)
    one = frame(b"P", b"x" * protocol.PROGRESS_CAP)
    with pytest.raises(FrameError, match="progress"):
        list(reader.feed(one * 2000))


def test_a_progress_report_counts_once_however_it_is_cut() -> None:
    """A header is looked at with each chunk after it; its length is not new each time."""
    reader = FrameReader(100)
    one = frame(b"P", b"x" * protocol.PROGRESS_CAP)
    found = [whole for byte in one for whole in reader.feed(bytes([byte]))]
    assert found == [(b"P", one[5:])]


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_the_typed_errors(data: bytes) -> None:
    """Whatever comes, it is a frame, a typed error, or not enough yet."""
    try:
        for kind, body in FrameReader(100).feed(data):
            assert len(kind) == 1
            assert len(body) <= protocol.REPORT_CAP
    except (FrameError, ReplyTooLargeError):
        return


def test_the_parents_frames_hold_head_and_blob() -> None:
    """An image crosses as it is, beside its head."""
    stream = b"".join(encode(protocol.REQUEST, b'{"a": 1}', b"\xff\x00"))
    kind, length = protocol.HEADER.unpack(stream[:5])
    assert (kind, length) == (b"Q", len(stream) - 5)
    (head,) = protocol.HEAD_LENGTH.unpack(stream[5:9])
    assert stream[9 : 9 + head] == b'{"a": 1}'
    assert stream[9 + head :] == b"\xff\x00"
