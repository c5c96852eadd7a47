"""What is a message, and how what is none is refused: the same at every door."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import types

from toolrunner.api.mcp.messages import INVALID_REQUEST, PARSE_ERROR, Refused, message_in

PLAIN = {"jsonrpc": "2.0", "method": "ping", "id": 1}
SMALL = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
VALUES = SMALL | st.dictionaries(st.sampled_from(["code", "message", "a"]), SMALL) | st.lists(SMALL)
OBJECTS = st.dictionaries(
    st.sampled_from(["method", "id", "params", "result", "error", "more"]), VALUES
)


def refused(data: bytes) -> Refused:
    """Return how it is refused."""
    found = message_in(data)
    assert isinstance(found, Refused)
    return found


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"hello",
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b"[" * 200 + b"]" * 200,
        b'{"a": "\\ud800"}',
        b"\xff",
    ],
)
def test_what_is_no_strict_json_is_a_parse_error(data: bytes) -> None:
    """With no id: none of it was read."""
    found = refused(data)
    assert (found.code, found.id) == (PARSE_ERROR, None)


@pytest.mark.parametrize(
    ("change", "words", "number"),
    [
        ({"jsonrpc": "1.0"}, "jsonrpc", 1),
        ({"method": 1}, "method", 1),
        ({"params": []}, "params", 1),
        ({"id": None}, "id", None),
        ({"id": 1.5}, "id", None),
        ({"id": True}, "id", None),
        ({"id": "x" * 1025}, "longer than 1024", None),
        ({"params": {"requestId": "x" * 1025}}, "longer than 1024", None),
    ],
)
def test_what_is_no_request_is_an_invalid_one(
    change: dict[str, object], words: str, number: int | None
) -> None:
    """With its id, if it has one that can be repeated."""
    found = refused(json.dumps({**PLAIN, **change}).encode())
    assert (found.code, found.id) == (INVALID_REQUEST, number)
    assert words in found.message


@pytest.mark.parametrize("data", [b"[]", b"1", b"null", b"{}", json.dumps([PLAIN]).encode()])
def test_one_message_is_one_object(data: bytes) -> None:
    """There are no batches, in any version that is spoken here."""
    assert refused(data).code == INVALID_REQUEST


@given(OBJECTS)
def test_what_passes_is_one_for_the_library(rest: dict[str, object]) -> None:
    """Which would leave it without an answer otherwise."""
    found = message_in(json.dumps({"jsonrpc": "2.0", **rest}).encode())
    if not isinstance(found, Refused):
        read = types.jsonrpc_message_adapter.validate_python(found, by_name=False)
        assert isinstance(read, types.JSONRPCRequest) == ("method" in rest and "id" in rest)
