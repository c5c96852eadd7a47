"""The page's own files: style sheet, scripts and pictures, each at an address of its content.

So a browser keeps them for good, and has the new ones at once after an upgrade.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
PREFIX = "/page/static"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, as it is sent."""

    address: str
    media_type: str
    content: bytes


class StaticFiles:
    """All of them, read once."""

    def __init__(self) -> None:
        self._by_name: dict[str, StaticFile] = {}
        for path in sorted(FOLDER.rglob("*")):
            if path.suffix in _TYPES:
                name = path.relative_to(FOLDER).as_posix()
                self._by_name[name] = _read(path, name)
        self._by_address = {one.address: one for one in self._by_name.values()}

    def address(self, name: str) -> str:
        """Return where a file is; raises KeyError for one that there is not."""
        return self._by_name[name].address

    def at(self, address: str) -> StaticFile | None:
        """Return the file of an address, ``None`` where there is none."""
        return self._by_address.get(address)


def _read(path: Path, name: str) -> StaticFile:
    content = path.read_bytes()
    mark = hashlib.sha256(content).hexdigest()[:16]
    return StaticFile(f"{PREFIX}/{mark}/{name}", _TYPES[path.suffix], content)
