"""Artifacts on their way: what a cell's side takes and sends is what the parent's side reads."""

from __future__ import annotations

import _thread
import os
import socket
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrunner.sandbox.artifacts import Artifact, is_artifact_name, is_artifact_type
from toolrunner.sandbox.channel import Channel
from toolrunner.sandbox.exchange.artifacts import ArtifactSet
from toolrunner.sandbox.frames import FrameError, FrameReader, ReplyTooLargeError
from toolrunner.sandbox.inside import artifacts as inside
from toolrunner.sandbox.inside import mime_types, protocol, wire

ALPHABET = "aZ09._-/\\ \n\0:é٣\ud800\u202e"
NAMES = st.text(st.sampled_from(ALPHABET), max_size=6) | st.text(max_size=140)
LEGAL = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True)
TYPES = st.from_regex(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z][a-z0-9.+-]{0,20}", fullmatch=True)


@given(NAMES | LEGAL)
def test_both_sides_allow_the_same_names(name: str) -> None:
    """What the worker takes, the parent does: a plugin hears at once what cannot be."""
    assert inside.is_name(name) == is_artifact_name(name)


@given(st.text(st.sampled_from("aZ0/+.-; =é\n"), max_size=8) | st.text(max_size=300) | TYPES)
def test_both_sides_allow_the_same_types(mime_type: str) -> None:
    """But for case, in which the worker's side makes them alike."""
    try:
        found = mime_types.checked(mime_type)
    except ValueError:
        assert not is_artifact_type(mime_type)
    else:
        assert is_artifact_type(found)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("é\n.txt", "file.txt"),
        ("aé b.txt", "a--b.txt"),
        (".profile", "profile"),
        ("", "file"),
    ],
)
def test_a_name_keeps_its_suffix(text: str, name: str) -> None:
    """It says what is in the file, also where nothing is left before it."""
    assert inside.as_name(text) == name


@given(NAMES | LEGAL)
def test_whatever_a_file_is_called_there_is_a_name_for_it(text: str) -> None:
    """A legal name is its own, and any number of files may have the same."""
    assert is_artifact_name(inside.as_name(text))
    if is_artifact_name(text) and len(os.path.splitext(text)[1]) <= 16:
        assert inside.as_name(text) == text
    given_back = inside.Artifacts(None, _thread.allocate_lock())
    for _ in range(12):
        name = given_back._free_name(text)
        given_back.give(name, b"")
    assert len(given_back._names) == 12


@pytest.mark.parametrize(
    ("name", "mime_type"),
    [
        ("a.png", "image/png"),
        ("A.PNG", "image/png"),
        ("a.jpeg", "image/jpeg"),
        ("a.tar.gz", "application/gzip"),
        ("a.html", "text/html"),
        ("a.svg", "image/svg+xml"),
        ("a.wav", "audio/x-wav"),
        ("a", "application/octet-stream"),
        ("a.", "application/octet-stream"),
        ("a.unheard-of", "application/octet-stream"),
    ],
)
def test_the_type_follows_from_the_name(name: str, mime_type: str) -> None:
    """By a table that is the same on every host."""
    known = {mime_type, "audio/wav"} if mime_type == "audio/x-wav" else {mime_type}
    assert mime_types.of(name) in known


def test_every_type_that_a_name_may_mean_is_one_that_crosses() -> None:
    """The parent would refuse the artifact otherwise."""
    import mimetypes

    for suffix in {*mimetypes.types_map, *mime_types._KNOWN}:
        assert is_artifact_type(mime_types.of("a" + suffix)), suffix


Sent = tuple[str, str, bytes]


def crossed(sent: list[Sent], *, cap: int = 1 << 20) -> tuple[Artifact, ...]:
    """Return what arrives of artifacts that a cell's side gives."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ended = threading.Thread(target=give_all, args=(theirs, sent))
        ended.start()
        channel, found = Channel(ours, 1024, artifacts_cap=cap), ArtifactSet()
        try:
            while not channel.closed:
                for kind, body in channel.receive():
                    assert kind == protocol.ARTIFACT
                    found.add(body)
        finally:
            ours.close()
            ended.join()
        assert not channel.was_cut_off
        return found.all()


def give_all(theirs: socket.socket, sent: list[Sent]) -> None:
    """Give all of these, as a worker does; whoever reads them may have gone."""
    given_back = inside.Artifacts(theirs, _thread.allocate_lock())
    try:
        for name, mime_type, data in sent:
            given_back.give(name, data, mime_type)
        theirs.shutdown(socket.SHUT_WR)
    except OSError:
        return


@given(
    st.lists(
        st.tuples(LEGAL, TYPES, st.binary(max_size=300) | st.integers(0, 200_000).map(bytes)),
        max_size=5,
        unique_by=lambda one: one[0],
    )
)
def test_artifacts_arrive_as_they_were_given(sent: list[Sent]) -> None:
    """Each of them whole, in their order."""
    assert crossed(sent, cap=2_000_000) == tuple(Artifact(*one) for one in sent)


def test_nothing_beyond_the_limit_arrives() -> None:
    """However it is split."""
    exact: list[Sent] = [("a", "a/b", bytes(600)), ("b", "a/b", bytes(400))]
    assert len(crossed(exact, cap=1000)) == 2
    with pytest.raises(ReplyTooLargeError) as raised:
        crossed([*exact, ("c", "a/b", b"x")], cap=1000)
    assert (raised.value.limit, raised.value.size) == ("artifacts_mb", 1001)


def test_a_digest_is_the_same_whoever_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL's code, or Python's own, which is loaded sooner."""
    assert "hashlib" in sys.modules
    digests = []
    for is_loaded in (True, False):
        if not is_loaded:
            monkeypatch.delitem(sys.modules, "hashlib")
        digest = inside.new_digest(10)
        digest.update(b"some bytes")
        digests.append((digest.hexdigest(), type(digest)))
    assert digests[0][0] == digests[1][0]
    assert digests[0][1] is not digests[1][1]


@pytest.mark.parametrize("comes", [0, 1, 99_999, 100_000])
def test_a_frame_that_was_begun_is_ended(comes: int) -> None:
    """Whatever keeps its bytes from coming: what is sent next can be read."""
    ours, theirs = socket.socketpair()

    def blocks() -> Iterator[memoryview]:
        yield memoryview(b"x" * comes)
        message = "no more"
        raise RuntimeError(message)

    def send() -> None:
        with pytest.raises(RuntimeError, match="no more"):
            wire.send_blocks(theirs, protocol.ARTIFACT, b"{}", 100_000, blocks())
        wire.send(theirs, protocol.RETURNED, b"next")
        theirs.shutdown(socket.SHUT_WR)

    with ours, theirs:
        sender = threading.Thread(target=send)
        sender.start()
        channel = Channel(ours, 1024, artifacts_cap=100_000)
        frames: list[tuple[bytes, bytes]] = []
        while not channel.closed:
            frames += channel.receive()
        sender.join()
    assert [kind for kind, _ in frames] == [protocol.ARTIFACT, protocol.RETURNED]
    assert frames[0][1][6:] == b"x" * comes + bytes(100_000 - comes)
    assert frames[1][1] == b"next"


def test_what_a_sparse_file_announces_is_bounded_by_the_frame() -> None:
    """More than four gigabytes cannot be announced, and is refused by what can."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(0)

        def nothing() -> Iterator[memoryview]:
            yield from ()

        with pytest.raises(BlockingIOError):
            wire.send_blocks(theirs, protocol.ARTIFACT, b"{}", 1 << 40, nothing())
        channel = Channel(ours, 1024, artifacts_cap=1 << 30)
        with pytest.raises(ReplyTooLargeError) as raised:
            list(channel.receive())
    assert raised.value.size == (1 << 32) - 1 - 4 - 2


def test_a_name_twice_is_no_set() -> None:
    """Whatever else is the same."""
    found = ArtifactSet()
    body = protocol.HEAD_LENGTH.pack(35) + b'{"name": "a", "mime_type": "a/b"}  x'
    found.add(body)
    with pytest.raises(FrameError, match="two artifacts 'a'"):
        found.add(body)
    assert found.size == 1


HEAD = b'{"name": "a", "mime_type": "a/b"}'
KINDS = {
    "A": protocol.HEAD_LENGTH.pack(len(HEAD)) + HEAD + bytes(1000),
    "R": b"{}",
}


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ("ARAR", ""),
        ("ARR", ""),
        ("AA", "artifacts_mb"),
        ("RAA", "artifacts_mb"),
        ("ARARA", "bytes after the reply"),
    ],
)
def test_each_reply_of_a_batch_has_limits_of_its_own(sent: str, why: str) -> None:
    """What came with one counts for no other, and nothing comes after the last."""
    reader = FrameReader(2, 2, artifacts_cap=1999)

    def read() -> str:
        bodies = ((kind.encode(), KINDS[kind]) for kind in sent)
        frames = (protocol.HEADER.pack(kind, len(body)) + body for kind, body in bodies)
        return "".join(kind.decode() for frame in frames for kind, _ in reader.feed(frame))

    if why:
        with pytest.raises((FrameError, ReplyTooLargeError), match=why):
            read()
    else:
        assert read() == sent
