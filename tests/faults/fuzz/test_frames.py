"""Frames from a cell, a million of them: the same as a second, simple reading of the protocol."""

from __future__ import annotations

import itertools
import json
import re
import socket
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.fuzz.conftest import FRAMES_A_SLICE
from tests.faults.fuzz.mutator import Mutator, cuttings, try_each
from toolrunner.sandbox import frames as product
from toolrunner.sandbox.channel import Channel, parse_object, parse_progress, parse_raised
from toolrunner.sandbox.ending import Raised
from toolrunner.sandbox.exchange.artifacts import parse_artifact
from toolrunner.sandbox.frames import (
    FINAL_KINDS,
    FrameError,
    FrameReader,
    ReplyTooLargeError,
)
from toolrunner.sandbox.inside import protocol

OUTPUT_CAP = 1024
ARTIFACTS_CAP = 200
MOST_ARTIFACTS = 3
CAPS = {
    protocol.CONFINED: protocol.SIGN_CAP,
    protocol.SOURCES: protocol.SOURCES_CAP,
    protocol.CACHES: protocol.CACHES_CAP,
    protocol.LOADED: protocol.SIGN_CAP,
    protocol.FAILED: protocol.REPORT_CAP,
    protocol.PROGRESS: protocol.PROGRESS_CAP,
    protocol.RETURNED: OUTPUT_CAP,
    protocol.UNSERIALIZABLE: protocol.REPORT_CAP,
    protocol.RAISED: protocol.REPORT_CAP,
}
Frames = list[tuple[bytes, bytes]]
RAISED = {"exception": "E", "message": "m\u00e9", "traceback": "Trace\n", "errno": 28}


def frame(kind: bytes, body: bytes) -> bytes:
    """Return a frame as a cell sends it."""
    return protocol.HEADER.pack(kind, len(body)) + body


def artifact(name: str, data: bytes, mime_type: str = "image/png") -> bytes:
    """Return an artifact as a cell sends it."""
    head = report(name=name, mime_type=mime_type)
    return frame(protocol.ARTIFACT, protocol.HEAD_LENGTH.pack(len(head)) + head + data)


def report(**facts: object) -> bytes:
    """Return a body as the worker writes it."""
    return json.dumps(facts, ensure_ascii=False).encode()


MIDDLES = (
    frame(protocol.CONFINED, b"{}"),
    frame(protocol.LOADED, b"{}"),
    frame(protocol.PROGRESS, report(fraction=0.5, message="half")),
    frame(protocol.PROGRESS, report(fraction=1, message="")),
    frame(protocol.FAILED, report(operation="unshare", errno=1, message="no")),
    frame(protocol.SOURCES, b'["/a.py"]'),
    frame(protocol.CACHES, b"\0\0\0\2[]"),
    artifact("a.png", b""),
    artifact("b", b"x" * 60),
    artifact("c", b"x" * (ARTIFACTS_CAP - 60)),
)
FINALS = (
    frame(protocol.RETURNED, b'{"a": [1, 2.5, "x", null]}'),
    frame(protocol.RETURNED, b'"' + b"x" * (OUTPUT_CAP - 2) + b'"'),
    frame(protocol.UNSERIALIZABLE, "a set at result[“x”]".encode()),
    frame(protocol.RAISED, report(**RAISED, is_memory_error=True, cannot_start_thread=False)),
)
# Bytes that have failed once, or are the shortest way to what once was a danger.
KNOWN = (
    b"",
    b"R",
    frame(protocol.PROGRESS, b"x" * protocol.PROGRESS_CAP),  # counted once, however it is cut
    frame(protocol.PROGRESS, b"x" * protocol.PROGRESS_CAP) * 1025,
    frame(protocol.RETURNED, b"") + b"\x00",
    protocol.HEADER.pack(protocol.RETURNED, 2**32 - 1),
    frame(protocol.RAISED, b"[" * 100_000),
    frame(protocol.RAISED, b'{"errno": ' + b"9" * 5000 + b"}"),
    frame(protocol.RAISED, b'{"exception": "\xed\xa0\x80"}'),
    frame(protocol.RAISED, b'{"exception": "\\ud800", "message": "", "traceback": ""}'),
    frame(protocol.RAISED, '{"exception": "E", "message": "", "traceback": ""}'.encode("utf-16")),
    frame(protocol.PROGRESS, b'{"fraction": NaN, "message": ""}'),
    artifact("a", b"x" * ARTIFACTS_CAP),
    artifact("a", b"x" * (ARTIFACTS_CAP + 1)),
    artifact("a", b"x" * ARTIFACTS_CAP) + artifact("b", b"x"),
    artifact("a", b"") * (MOST_ARTIFACTS + 1),
    frame(protocol.ARTIFACT, b""),
    frame(protocol.ARTIFACT, b"\0\0\0"),
    frame(protocol.ARTIFACT, b"\0\0\0\0"),
    frame(protocol.ARTIFACT, b"\0\0\0\1"),
    frame(protocol.ARTIFACT, b"\xff\xff\xff\xff{}"),
    frame(protocol.ARTIFACT, protocol.HEAD_LENGTH.pack(2000) + b" " * 2000),
    protocol.HEADER.pack(protocol.ARTIFACT, 2**32 - 1),
    protocol.HEADER.pack(protocol.ARTIFACT, 2**32 - 1) + protocol.HEAD_LENGTH.pack(2),
)


def refused(
    data: bytes, output_cap: int = OUTPUT_CAP, artifacts_cap: int = ARTIFACTS_CAP
) -> tuple[Frames, str, int]:
    """Read ``data`` as the protocol's words have it: frames, what is wrong, and known from where.

    Written for clarity alone, all at once, and apart from the product.
    """
    caps = {**CAPS, protocol.RETURNED: output_cap}
    frames: Frames = []
    progress = at = artifacts = raw_bytes = 0
    while len(data) - at >= protocol.HEADER.size:
        kind, length = protocol.HEADER.unpack_from(data, at)
        body = at + protocol.HEADER.size
        if kind == protocol.ARTIFACT:
            artifacts += 1
            raw_bytes += length - 4 - int.from_bytes(data[body : body + 4], "big")
            too_large = artifacts > protocol.MOST_ARTIFACTS or raw_bytes > artifacts_cap
            why, known_at = malformed(data, body, length) or ("too large" * too_large, body + 4)
            if why and len(data) >= known_at:
                return frames, why, known_at
        elif kind not in caps:
            return frames, "unknown kind", body
        elif length > caps[kind]:
            return frames, "too large" if kind == protocol.RETURNED else "more than", body
        progress += length if kind == protocol.PROGRESS else 0
        if progress > product.PROGRESS_BYTES_CAP:
            return frames, "progress reports", body
        if len(data) < body + length:
            break
        frames.append((kind, data[body : body + length]))
        at = body + length
        if kind in FINAL_KINDS:
            return frames, "after the reply" if data[at:] else "", at + 1
    return frames, "", len(data) + 1


def malformed(data: bytes, body: int, length: int) -> tuple[str, int] | None:
    """Tell what is wrong with an artifact's head, and known from where."""
    if length < 4:
        return "without a head", body
    head_length = int.from_bytes(data[body : body + 4], "big")
    return ("with a head of", body + 4) if head_length > min(1024, length - 4) else None


def check_stream(data: bytes) -> int:
    """Feed ``data`` whole and in pieces; return how many frames it holds, refused ones too."""
    expected, why, known_at = refused(data)
    for ends in ([len(data)], *cuttings(data)):
        reader = FrameReader(OUTPUT_CAP, artifacts_cap=ARTIFACTS_CAP)
        frames: Frames = []
        start = 0
        error: Exception | None = None
        for end in ends:
            try:
                frames.extend(reader.feed(data[start:end]))
            except (FrameError, ReplyTooLargeError) as raised:
                error = raised
                assert start < known_at <= end, f"refused, but not as soon as known: {ends}"
                break
            assert len(reader._buffer) < protocol.HEADER.size + max(CAPS.values())
            start = end
        assert frames == expected, ends
        if why:
            assert error is not None, f"{why}: {ends}"
            check_is_kept(reader, error, why)
        else:
            assert error is None, ends
            whole = sum(protocol.HEADER.size + len(body) for _, body in frames)
            assert reader.truncated() == (whole < len(data))
    for kind, body in expected:
        check_body(kind, body)
    return len(expected) + bool(why)


def check_is_kept(reader: FrameReader, error: Exception, why: str) -> None:
    """What is wrong is named, and stays so: nothing more is stored."""
    assert isinstance(error, ReplyTooLargeError) == (why == "too large")
    assert why == "too large" or why in str(error)
    stored = len(reader._buffer)
    raised: Exception | None = None
    try:
        list(reader.feed(b"more"))
    except (FrameError, ReplyTooLargeError) as again:
        raised = again
    assert raised is error
    assert len(reader._buffer) == stored


def check_body(kind: bytes, body: bytes) -> None:
    """Read a body as the exchange does: the data that it has to be, or a typed refusal."""
    assert len(body) <= CAPS.get(kind, 2 * OUTPUT_CAP)
    try:
        if kind == protocol.ARTIFACT:
            check_artifact(body)
        elif kind == protocol.PROGRESS:
            fraction, words = parse_progress(body)
            assert type(fraction) is float
            assert 0 <= fraction <= 1
            assert type(words) is str
        elif kind == protocol.RAISED:
            check_raised(parse_raised(body))
        elif kind == protocol.FAILED:
            assert type(parse_object(body)) is dict
    except FrameError:
        return


def check_artifact(body: bytes) -> None:
    """Its name can be a file's in any folder, and its type stand in a header."""
    found = parse_artifact(body)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", found.name)
    assert re.fullmatch(r"[!-.0-~]+/[!-.0-~]+", found.mime_type)
    assert body.endswith(found.data)
    assert len(found.data) < len(body)


def check_raised(raised: Raised) -> None:
    """Each field is of its type, whatever the report held there."""
    assert {type(raised.exception), type(raised.message), type(raised.traceback)} == {str}
    assert raised.errno is None or type(raised.errno) is int
    assert {type(raised.is_memory_error), type(raised.cannot_start_thread)} == {bool}


def streams(mutator: Mutator) -> Iterator[bytes]:
    """Yield streams of valid frames, most of them mutated."""
    random = mutator.random
    while True:
        frames = random.choices(MIDDLES, k=random.randrange(24))
        if random.random() < 0.5:
            frames.append(random.choice(FINALS))
        stream = b"".join(frames)
        if random.random() < 0.8:
            # Mostly near its end, so that most of its frames are read.
            start = max(0, random.choice((0, len(stream) // 2, len(stream) - 40)))
            stream = stream[:start] + mutator.mutated(stream[start:], random.choice(FINALS))
        yield stream


def enough(mutator: Mutator, frames: int) -> Iterator[bytes]:
    """Yield streams until they have held so many frames."""
    held = 0
    for stream in streams(mutator):
        yield stream
        found, why, _ = refused(stream)
        held += len(found) + bool(why)
        if held >= frames:
            return


@pytest.mark.usefixtures("part")
def test_a_stream_of_frames_is_read_alike_however_it_is_cut(
    seed: str,
    mutator: Mutator,
    count: Callable[[str, int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each frame comes out whole, or is refused as soon as its header tells."""
    # As a budget of small streams: the real one is reached by megabytes only.
    monkeypatch.setattr(product, "PROGRESS_BYTES_CAP", 300)
    monkeypatch.setattr(protocol, "MOST_ARTIFACTS", MOST_ARTIFACTS)
    count("frames", try_each(seed, enough(mutator, FRAMES_A_SLICE), check_stream))


@pytest.mark.parametrize("data", KNOWN, ids=range(len(KNOWN)))
def test_bytes_that_failed_once(data: bytes) -> None:
    """Whoever wrote them, and however they came up."""
    check_stream(data)


@given(st.lists(st.one_of(st.sampled_from(MIDDLES + FINALS), st.binary(max_size=40)), max_size=9))
def test_any_sequence_of_frames_and_rubbish_is_read_alike(pieces: list[bytes]) -> None:
    """Hypothesis looks for the structure that chance does not find, and makes it small."""
    check_stream(b"".join(pieces))


@given(
    st.lists(st.sampled_from(MIDDLES + FINALS), max_size=5).map(b"".join),
    st.binary(max_size=5),
    st.lists(st.integers(0, 2000), max_size=4).map(sorted),
)
def test_a_channel_gives_what_the_reader_gives(stream: bytes, rest: bytes, cuts: list[int]) -> None:
    """Through a real socket: the same frames, the same refusal, and whether it was cut off."""
    stream += rest
    expected, why, _ = refused(stream)
    ours, theirs = socket.socketpair()
    frames: Frames = []
    error = None
    with ours, theirs:
        channel = Channel(ours, OUTPUT_CAP, artifacts_cap=ARTIFACTS_CAP)
        try:
            for start, end in itertools.pairwise([0, *cuts, len(stream) + 2000]):
                theirs.sendall(stream[start:end])
                frames.extend(channel.receive())
            theirs.shutdown(socket.SHUT_WR)
            frames.extend(channel.receive())
        except (FrameError, ReplyTooLargeError) as raised:
            error = raised
    assert (frames, error is not None) == (expected, bool(why))
    if not why:
        assert channel.closed
        whole = sum(protocol.HEADER.size + len(body) for _, body in frames)
        assert channel.was_cut_off == (whole < len(stream))
