"""Orders on their way into a cell: what the parent sends is what the worker reads."""

from __future__ import annotations

import json
import socket
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from toolrunner.runner.payloads.validation import validate_json_payload
from toolrunner.sandbox.channel import Channel
from toolrunner.sandbox.exchange.messages import load_order
from toolrunner.sandbox.frames import encode
from toolrunner.sandbox.inside import protocol, wire
from toolrunner.sandbox.profile import Program

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=9,
)  # fmt: skip
_TABLES = st.dictionaries(_TEXTS, _VALUES, max_size=4)


def sent(kind: bytes, heads: list[bytes], blobs: list[bytes]) -> list[tuple[dict[str, Any], bytes]]:
    """Return what a worker reads of orders that the parent's channel sends one after the other."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(ours, 1)
        for head, blob in zip(heads, blobs, strict=True):
            channel.send(encode(kind, head, blob))
        assert not channel.has_more_to_send
        return [wire.receive(theirs, kind) for _ in heads]


@given(st.lists(st.tuples(_TABLES, st.binary(max_size=200)), max_size=4))
def test_payloads_and_images_arrive_as_they_were_sent(
    requests: list[tuple[dict[str, Any], bytes]],
) -> None:
    """One frame ends where the next begins, whatever is in them."""
    heads = [validate_json_payload(payload).head_json for payload, _ in requests]
    blobs = [image for _, image in requests]
    assert sent(protocol.REQUEST, heads, blobs) == requests


@given(_TEXTS, _TEXTS, _TABLES, st.binary(max_size=200))
def test_a_program_arrives_as_it_was_sent(
    name: str, path: str, config: dict[str, Any], source: bytes
) -> None:
    """Its source as the bytes that it is, its configuration as it was set."""
    order = load_order(Program(name, path, config=config, source=source), warms_up=False)
    ((head, blob),) = sent(protocol.LOAD, [order], [source])
    assert (head["name"], head["path"], head["config"], blob) == (name, path, config, source)
    assert head == json.loads(order)
