"""What a cell says is a file that its call gives back: untrusted, and checked here.

Its size was checked before it was stored, by the reader of frames.
"""

from __future__ import annotations

from toolrunner.sandbox.artifacts import Artifact, is_artifact_name, is_artifact_type
from toolrunner.sandbox.channel import parse_object
from toolrunner.sandbox.frames import FrameError
from toolrunner.sandbox.inside import protocol


class ArtifactSet:
    """The artifacts of one reply, as they come."""

    def __init__(self) -> None:
        self._artifacts: dict[str, Artifact] = {}
        self.size = 0  # of their bytes

    def add(self, body: bytes) -> None:
        """Take in the body of an ARTIFACT frame; ``FrameError`` if it is none, or one again."""
        artifact = parse_artifact(body)
        if artifact.name in self._artifacts:
            message = f"two artifacts {artifact.name!r} in one reply"
            raise FrameError(message)
        self._artifacts[artifact.name] = artifact
        self.size += len(artifact.data)

    def all(self) -> tuple[Artifact, ...]:
        """Return them in the order in which they came."""
        return tuple(self._artifacts.values())


def parse_artifact(body: bytes) -> Artifact:
    """Return the artifact that an ARTIFACT frame's body holds; ``FrameError`` if it holds none."""
    if len(body) < protocol.HEAD_LENGTH.size:
        message = "an artifact without a head"
        raise FrameError(message)
    (head_length,) = protocol.HEAD_LENGTH.unpack_from(body)
    start = protocol.HEAD_LENGTH.size + head_length
    head = parse_object(body[protocol.HEAD_LENGTH.size : start])
    name, mime_type = head.get("name"), head.get("mime_type")
    if not isinstance(name, str) or not is_artifact_name(name):
        message = f"an artifact that may not be called {name!r:.200}"
        raise FrameError(message)
    if not isinstance(mime_type, str) or not is_artifact_type(mime_type):
        message = f"an artifact of the type {mime_type!r:.200}, which is no MIME type"
        raise FrameError(message)
    return Artifact(name, mime_type, body[start:])
