"""What a page shows of a call that was tried: result, places on the picture, artifacts, error.

All of it is a plugin's to say, and shown as text; only pictures of known kinds are pictures, and
only as data that no browser runs.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolrunner.api.http.analyze import Answered
from toolrunner.api.limit_shares import Share, ended_by, shares
from toolrunner.api.page.shapes import Drawing, drawing_of
from toolrunner.api.shown import public
from toolrunner.sandbox.artifacts import Artifact
from toolrunner.sandbox.limits import MIB

MOST_TEXT_BYTES = 256 * 1024
# Of one file that is given back on a page, and of all of them.
MOST_FILE_BYTES, MOST_FILES_BYTES = 8 * MIB, 24 * MIB
# How these begin. Any other kind could be a document, whatever its label says.
_PICTURES: Mapping[str, bytes] = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}
# Numbers of a list, a line each. No text has a line break in it: JSON writes it as two characters.
_ROW = re.compile(r"\[\n\s*(-?\d[^\s,\]]*(?:,\n\s*-?\d[^\s,\]]*)*)\n\s*\]")
_DOWNLOAD = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Shown:
    """An artifact. ``address``: its bytes as data, "" where there is no room for them."""

    name: str
    mime_type: str
    size_bytes: int
    is_picture: bool
    address: str


@dataclass(frozen=True, slots=True)
class Tried:
    """A call that has ended, as a template takes it. ``text``: the result, cut if it is long."""

    call_id: str
    wall_ms: int
    mode: str
    shares: Sequence[Share]
    text: str = ""
    is_cut: bool = False
    drawing: Drawing = Drawing()  # noqa: RUF009 - frozen
    artifacts: Sequence[Shown] = ()
    mask_pictures: Sequence[str] = ()
    error: Mapping[str, Any] | None = None

    @property
    def hit(self) -> Share | None:
        """The limit that has ended it, if one has."""
        return ended_by(self.error)


def tried(found: Answered, limits: Mapping[str, Any]) -> Tried:
    """Return what to show of a call that has ended."""
    call = found.call
    usage = {"wall_ms": call.usage.wall_ms, "cpu_ms": call.usage.cpu_ms}
    usage |= {"peak_memory_bytes": call.usage.peak_memory_bytes}
    usage |= {"processes": call.usage.processes, "output_bytes": call.usage.output_bytes}
    about = (call.call_id, call.usage.wall_ms, call.isolation.mode, shares(usage, limits))
    if found.error is not None:
        return Tried(*about, error=public(found.error))
    assert found.result is not None
    text = json.dumps(found.result, ensure_ascii=False)
    if len(text) <= MOST_TEXT_BYTES:  # to write more of it over several lines takes long
        text = _ROW.sub(_in_a_line, json.dumps(found.result, indent=2, ensure_ascii=False))
    drawing = drawing_of(found.result)
    artifacts = _shown(call.artifacts)
    pictures = {one.name: one.address for one in artifacts if one.is_picture and one.address}
    # Each is in the page once more, so no name counts twice.
    named = dict.fromkeys(one.artifact for one in drawing.masks)
    masks = [pictures[name] for name in named if name in pictures]
    cut = text[:MOST_TEXT_BYTES]
    return Tried(*about, cut, len(cut) < len(text), drawing, artifacts, masks)


def _in_a_line(found: re.Match[str]) -> str:
    return f"[{', '.join(one.strip() for one in found[1].split(','))}]"


def _shown(artifacts: Sequence[Artifact]) -> list[Shown]:
    left, found = MOST_FILES_BYTES, []
    for one in artifacts:
        size = len(one.data)
        has_room = size <= min(left, MOST_FILE_BYTES)
        begins = _PICTURES.get(one.mime_type)
        is_picture = begins is not None and bytes(one.data[: len(begins)]) == begins
        address = ""
        if has_room:
            left -= size
            kind = one.mime_type if is_picture else _DOWNLOAD
            address = f"data:{kind};base64,{base64.b64encode(one.data).decode('ascii')}"
        found.append(Shown(one.name, one.mime_type, size, is_picture, address))
    return found
