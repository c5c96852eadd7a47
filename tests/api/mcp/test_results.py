"""What a call has come to, as a host is told of it: data, and bounded."""

from __future__ import annotations

import base64
import json

import pytest
from mcp import types

from tests.api.mcp.agents import error_of, text_of
from toolrunner.api.mcp.results import (
    ARTIFACT_META,
    MOST_FILES_BYTES,
    MOST_TEXT_BYTES,
    answered,
    failed,
    size_of,
)
from toolrunner.runner.errors import ErrorType, build_error_envelope
from toolrunner.sandbox.artifacts import Artifact

ID = "0" * 32
PNG = b"\x89PNG\r\n\x1a\n and so on"


def only_file(artifact: Artifact) -> types.ContentBlock:
    """Return how one artifact is handed on."""
    result = answered({}, (artifact,), ID, has_schema=False)
    [_, block] = result.content
    return block


def test_a_result_is_structured_and_text() -> None:
    """Both say the same; what a person cannot see is spelled out in the text."""
    given = {"a": 1, "hidden": "\x1b[31m\u202e\u200b\x9b\U000e0041 ä 日本"}
    result = answered(given, (), ID, has_schema=True)
    assert result.structured_content == given
    text = text_of(result)
    assert json.loads(text) == given
    assert "ä 日本" in text
    assert text.isprintable()
    assert not result.is_error


def test_a_large_result_is_attached_as_a_file() -> None:
    """No structured content then, which a schema asks for: so it is an error where there is one."""
    given = {"large": "x" * MOST_TEXT_BYTES}
    for has_schema in (False, True):
        result = answered(given, (), ID, has_schema=has_schema)
        assert result.structured_content is None
        assert result.is_error is has_schema
        assert "it is attached as result.json" in text_of(result)
        block = result.content[1]
        assert isinstance(block, types.EmbeddedResource)
        assert isinstance(block.resource, types.TextResourceContents)
        assert json.loads(block.resource.text) == given
    too_large = answered({"large": "x" * MOST_FILES_BYTES}, (), ID, has_schema=False)
    assert too_large.is_error
    assert len(too_large.content) == 1
    assert size_of(too_large) < 1000


def test_an_image_is_one_if_its_content_agrees() -> None:
    """What is not is a file: a model's API would refuse the whole conversation."""
    block = only_file(Artifact("a.png", "image/png", PNG))
    assert isinstance(block, types.ImageContent)
    assert base64.b64decode(block.data) == PNG
    assert block.meta == {ARTIFACT_META: "a.png"}
    for mime_type, data in (("image/jpeg", PNG), ("image/png", b"none"), ("image/tiff", b"II*\0")):
        block = only_file(Artifact("a", mime_type, data))
        assert isinstance(block, types.EmbeddedResource)
        assert isinstance(block.resource, types.BlobResourceContents)
        assert base64.b64decode(block.resource.blob) == data


@pytest.mark.parametrize(
    ("mime_type", "data", "is_text"),
    [
        ("text/csv", b"a,b\n1,2\n", True),
        ("image/svg+xml", b"<svg><script>alert(1)</script></svg>", True),
        ("application/json", b"{}", True),
        ("text/plain", b"\x1b[2J", False),
        ("text/plain", "\u202e".encode(), False),
        ("text/plain", b"\xff", False),
        ("application/zip", b"PK", False),
    ],
)
def test_a_file_is_a_resource(mime_type: str, data: bytes, is_text: bool) -> None:
    """As text, if it is plain text of which everything can be seen."""
    block = only_file(Artifact("file", mime_type, data))
    assert isinstance(block, types.EmbeddedResource)
    assert str(block.resource.uri) == f"artifact://{ID}/file"
    assert block.resource.mime_type == mime_type
    assert isinstance(block.resource, types.TextResourceContents) is is_text


def test_what_there_is_no_room_for_is_named() -> None:
    """In the order in which the plugin made them, as long as there is room."""
    large = Artifact("large.bin", "application/x-thing", bytes(MOST_FILES_BYTES))
    small = Artifact("small.bin", "application/x-thing", b"1")
    result = answered({}, (small, large, small), ID, has_schema=False)
    assert [type(block).__name__ for block in result.content] == [
        "TextContent",
        "EmbeddedResource",
        "EmbeddedResource",
        "TextContent",
    ]
    last = result.content[-1]
    assert isinstance(last, types.TextContent)
    told = json.loads(last.text)["left_out"]
    assert (told["name"], told["bytes"]) == ("large.bin", MOST_FILES_BYTES)


def test_an_error_shows_what_http_shows() -> None:
    """No path, no log, nothing of the host's."""
    envelope = build_error_envelope(
        ErrorType.EXECUTION_ERROR,
        "in /srv/secret/place/file.py \x1b[31m\u202e",
        plugin="sample",
        call_id=ID,
        details={"log_tail": "secret"},
        traceback="Traceback: secret",
    )
    result = failed(envelope["error"])
    document = error_of(result, "ExecutionError")
    assert "secret" not in text_of(result)
    assert text_of(result).isprintable()
    assert document["message"].startswith("in file.py")
