"""A file that a call has given back beside its result, and what it may be called."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MIME_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a call has given back beside its result.

    ``name`` is no path, and unique among the call's. ``mime_type`` is the plugin's word.
    """

    name: str
    mime_type: str
    data: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """The digest of its bytes, in hexadecimal digits; made anew each time."""
        return hashlib.sha256(self.data).hexdigest()


def is_artifact_name(text: str) -> bool:
    """Tell whether an artifact may have this name: a step of a path on Linux and macOS.

    Windows keeps some of these names for itself, such as ``nul.txt``, and takes no dot at an end.
    """
    return _NAME.fullmatch(text) is not None


def is_artifact_type(text: str) -> bool:
    """Tell whether a text is one MIME type in lower case, without parameters."""
    return _MIME_TYPE.fullmatch(text) is not None
