"""What a call has come to, as a tool's result: structured content, text, images and files.

All of it is data, and bounded: a host puts it before a model. Text that could pass for something
else, as invisible characters and those that steer a terminal, is spelled out in it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mcp import types

from toolrunner.api.shown import public
from toolrunner.runner.artifacts import info_of
from toolrunner.runner.errors import harmless
from toolrunner.runner.payloads.json_writing import dumps
from toolrunner.runner.payloads.mime import guess
from toolrunner.sandbox.artifacts import Artifact
from toolrunner.sandbox.limits import MIB

# Of a result that is answered as structured content and text: more than any model reads.
MOST_TEXT_BYTES = 256 * 1024
# Of files in one answer, a larger result among them.
MOST_FILES_BYTES = 8 * MIB
# What models take as images, and what of a larger one the API of one refuses.
_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_MOST_IMAGE_BYTES = 5 * MIB
_READABLE = frozenset({"application/json", "application/xml", "application/yaml"})
_READABLE_ENDS = ("+json", "+xml")
ARTIFACT_META = "toolrunner/artifact"
RESULT_NAME = "result.json"


def answered(
    result: Mapping[str, Any], artifacts: Sequence[Artifact], call_id: str, *, has_schema: bool
) -> types.CallToolResult:
    """Return the result of a call that has succeeded.

    ``has_schema``: hosts check the structured content, and so there has to be some.
    """
    text = dumps(result)
    room = MOST_FILES_BYTES
    if len(text) <= MOST_TEXT_BYTES:
        content: list[types.ContentBlock] = [words(_spelled(text.decode()))]
        blocks, left_out = _files(artifacts, call_id, room)
        return types.CallToolResult(
            content=[*content, *blocks, *left_out], structured_content=dict(result)
        )
    said = f"the result is {len(text):,} bytes of JSON, more than an answer has as text"
    whole = []
    if len(text) <= room:
        room -= len(text)
        whole = [_resource(Artifact(RESULT_NAME, "application/json", text), call_id)]
        said += f"; it is attached as {RESULT_NAME}"
    else:
        said += "; ask for it with POST /v1/analyze, or toolrunner run"
    blocks, left_out = _files(artifacts, call_id, room)
    is_error = has_schema or not whole
    return types.CallToolResult(
        content=[words(said), *whole, *blocks, *left_out], is_error=is_error
    )


def failed(error: Mapping[str, Any]) -> types.CallToolResult:
    """Return the result of a call that has failed, from the public half of its envelope.

    It is the document that ``POST /v1/analyze`` has as ``detail``, and cut as that is.
    """
    text = json.dumps(public(error), ensure_ascii=False, separators=(",", ":"))
    return types.CallToolResult(content=[words(_spelled(text))], is_error=True)


def words(text: str) -> types.TextContent:
    """Return a text as a part of a result."""
    return types.TextContent(text=text)


def size_of(result: types.CallToolResult) -> int:
    """Return about how many bytes a result has as it is sent."""
    size = 0
    for block in result.content:
        match block:
            case types.TextContent():
                size += len(block.text) * (2 if result.structured_content is not None else 1)
            case types.ImageContent():
                size += len(block.data)
            case types.EmbeddedResource(resource=types.BlobResourceContents(blob=data)):
                size += len(data)
            case types.EmbeddedResource(resource=types.TextResourceContents(text=data)):
                size += len(data)
    return size


def _files(
    artifacts: Iterable[Artifact], call_id: str, room: int
) -> tuple[list[types.ContentBlock], list[types.ContentBlock]]:
    """Return the artifacts that there is room for, and what is said of the others."""
    blocks: list[types.ContentBlock] = []
    left_out: list[types.ContentBlock] = []
    for one in artifacts:
        if len(one.data) > room:
            told = json.dumps({"left_out": info_of(one).document()})
            left_out.append(words(told))
            continue
        room -= len(one.data)
        blocks.append(_block(one, call_id))
    return blocks, left_out


def _block(artifact: Artifact, call_id: str) -> types.ContentBlock:
    # A model's API refuses a conversation with an image that is none, so the content has to agree.
    is_image = artifact.mime_type in _IMAGES and guess(artifact.data) == artifact.mime_type
    if is_image and len(artifact.data) <= _MOST_IMAGE_BYTES:
        return types.ImageContent(
            data=base64.b64encode(artifact.data).decode(),
            mime_type=artifact.mime_type,
            _meta={ARTIFACT_META: artifact.name},
        )
    return _resource(artifact, call_id)


def _resource(artifact: Artifact, call_id: str) -> types.EmbeddedResource:
    uri = f"artifact://{call_id}/{artifact.name}"
    text = _text_of(artifact)
    resource: types.TextResourceContents | types.BlobResourceContents
    if text is not None:
        resource = types.TextResourceContents(uri=uri, mime_type=artifact.mime_type, text=text)
    else:
        blob = base64.b64encode(artifact.data).decode()
        resource = types.BlobResourceContents(uri=uri, mime_type=artifact.mime_type, blob=blob)
    return types.EmbeddedResource(resource=resource, _meta={ARTIFACT_META: artifact.name})


def _text_of(artifact: Artifact) -> str | None:
    """Return what is to be read of a file; ``None`` where it is no text, or not a plain one."""
    kind = artifact.mime_type
    if not (kind.startswith("text/") or kind in _READABLE or kind.endswith(_READABLE_ENDS)):
        return None
    try:
        text = artifact.data.decode()
    except UnicodeDecodeError:
        return None
    return text if harmless(text) == text else None


def _spelled(text: str) -> str:
    """Return JSON text that says the same, with what cannot be seen in it spelled out."""
    if harmless(text) == text:
        return text
    return "".join(one if harmless(one) == one else json.dumps(one)[1:-1] for one in text)
