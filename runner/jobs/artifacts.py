"""The artifacts of one attempt of a job, all in one file: a set is there whole, or not at all.

The length of a list in JSON (8 bytes), the list, and then each artifact's bytes in its order. No
name that a plugin chose is ever a name of a file here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from toolrunner.runner.artifacts import ArtifactInfo, info_of
from toolrunner.runner.payloads.json_writing import dumps
from toolrunner.sandbox.artifacts import Artifact

_LENGTH_BYTES = 8


def encode_artifacts(artifacts: Sequence[Artifact]) -> tuple[bytes, ...]:
    """Return the parts of the file, in order; the artifacts' bytes are not copied."""
    head = dumps([info_of(one).document() for one in artifacts])
    return (len(head).to_bytes(_LENGTH_BYTES, "big"), head, *(one.data for one in artifacts))


class KeptArtifact:
    """One artifact, open to be read in pieces, also when it is kept no longer. Close it."""

    def __init__(self, file: BinaryIO, info: ArtifactInfo, start: int) -> None:
        self.info = info
        self._file = file
        self._start = start

    def read(self, offset: int, size: int) -> bytes:
        """Return so many bytes from an offset, or as many as there are from it on."""
        left = min(size, self.info.size_bytes - offset)
        parts = []
        while left > 0:
            part = os.pread(self._file.fileno(), left, self._start + offset)
            if not part:
                message = "a file of artifacts has been cut off"
                raise OSError(message)
            parts.append(part)
            offset += len(part)
            left -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def read_infos(path: Path) -> list[ArtifactInfo]:
    """Return what is in a file; raises FileNotFoundError."""
    with path.open("rb") as file:
        return _head(file)[0]


def open_artifact(path: Path, name: str) -> KeptArtifact | None:
    """Return one artifact of a file, ``None`` if it has none of that name."""
    file = path.open("rb", buffering=0)
    try:
        infos, start = _head(file)
        for info in infos:
            if info.name == name:
                return KeptArtifact(file, info, start)
            start += info.size_bytes
    except BaseException:
        file.close()
        raise
    file.close()
    return None


def _head(file: BinaryIO) -> tuple[list[ArtifactInfo], int]:
    """Return what is in a file, and where the bytes of the first begin."""
    length = int.from_bytes(file.read(_LENGTH_BYTES), "big")
    listed = json.loads(file.read(length))
    infos = [
        ArtifactInfo(one["name"], one["mime_type"], one["bytes"], one["sha256"]) for one in listed
    ]
    return infos, _LENGTH_BYTES + length
