"""The artifacts of one attempt of a job, all in one file: a set is there whole, or not at all.

The length of a list in JSON (8 bytes), the list, and then each artifact's bytes in its order. No
name that a plugin chose is ever a name of a file here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from toolrunner.runner.artifacts import ArtifactInfo, info_of
from toolrunner.runner.jobs.blobs import BlobReader
from toolrunner.runner.payloads.json_writing import dumps
from toolrunner.sandbox.artifacts import Artifact

_LENGTH_BYTES = 8


def encode_artifacts(artifacts: Sequence[Artifact]) -> tuple[bytes, ...]:
    """Return the parts of the file, in order; the artifacts' bytes are not copied."""
    head = dumps([info_of(one).document() for one in artifacts])
    return (len(head).to_bytes(_LENGTH_BYTES, "big"), head, *(one.data for one in artifacts))


class KeptArtifact:
    """One artifact, open to be read in pieces. Close it.

    One that lies in a folder is there for its reader also when it is kept no longer.
    """

    def __init__(self, blob: BlobReader, info: ArtifactInfo, start: int) -> None:
        self.info = info
        self._blob = blob
        self._start = start

    def read(self, offset: int, size: int) -> bytes:
        """Return so many bytes from an offset, or as many as there are from it on."""
        return _read(self._blob, self._start + offset, min(size, self.info.size_bytes - offset))

    def close(self) -> None:
        """Let go of the file."""
        self._blob.close()


def read_infos(blob: BlobReader) -> list[ArtifactInfo]:
    """Return what is in a file."""
    return _head(blob)[0]


def artifact_of(blob: BlobReader, name: str) -> KeptArtifact | None:
    """Return one artifact of a file, which it closes then; ``None`` if it has none of that name."""
    infos, start = _head(blob)
    for info in infos:
        if info.name == name:
            return KeptArtifact(blob, info, start)
        start += info.size_bytes
    return None


def _head(blob: BlobReader) -> tuple[list[ArtifactInfo], int]:
    """Return what is in a file, and where the bytes of the first begin."""
    length = int.from_bytes(_read(blob, 0, _LENGTH_BYTES), "big")
    listed = json.loads(_read(blob, _LENGTH_BYTES, length))
    infos = [
        ArtifactInfo(one["name"], one["mime_type"], one["bytes"], one["sha256"]) for one in listed
    ]
    return infos, _LENGTH_BYTES + length


def _read(blob: BlobReader, offset: int, size: int) -> bytes:
    parts = []
    while size > 0:
        part = blob.read(offset, size)
        if not part:
            message = "a file of artifacts has been cut off"
            raise OSError(message)
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
