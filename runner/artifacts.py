"""What is told of an artifact where its bytes are not: in lists, documents, the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from toolrunner.sandbox.artifacts import Artifact


@dataclass(frozen=True, slots=True)
class ArtifactInfo:
    """An artifact without its bytes. ``sha256`` is in hexadecimal digits."""

    name: str
    mime_type: str
    size_bytes: int
    sha256: str

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it, over HTTP and on the command line alike."""
        return {
            "name": self.name,
            "mime_type": self.mime_type,
            "bytes": self.size_bytes,
            "sha256": self.sha256,
        }


def info_of(artifact: Artifact) -> ArtifactInfo:
    """Return what is told of an artifact. All of its bytes are read for that."""
    return ArtifactInfo(artifact.name, artifact.mime_type, len(artifact.data), artifact.sha256)
