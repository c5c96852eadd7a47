"""What kind of file an artifact is, as its name says it.

The table does not depend on the host: a box may not read the host's own.
"""

from __future__ import annotations

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Mapping

UNKNOWN = "application/octet-stream"
# Without an import, what is given back most; and what Python's own table lacks in some version.
_KNOWN = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".txt": "text/plain",
    ".csv": "text/csv",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".parquet": "application/vnd.apache.parquet",
    ".mp4": "video/mp4",
    ".gz": "application/gzip",
    ".bz2": "application/x-bzip2",
    ".xz": "application/x-xz",
    ".zst": "application/zstd",
}
_LONGEST_TOKEN = 127
_IN_TOKEN = frozenset("!#$&^_.+-")


def of(name: str) -> str:
    """Return the MIME type of a file by its name."""
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    if suffix in _KNOWN:
        return _KNOWN[suffix]
    import mimetypes

    # Not by its functions, which read the host's tables first.
    table: Mapping[str, str] = getattr(mimetypes, "_types_map_default", {})
    return table.get(suffix, UNKNOWN)


def checked(mime_type: object) -> str:
    """Return a MIME type; refuse what is none."""
    if not isinstance(mime_type, str):
        message = f"the MIME type is of type {type(mime_type).__name__}; give text as 'image/png'"
        raise TypeError(message)
    kind, _, subtype = mime_type.partition("/")
    if not (_is_token(kind) and _is_token(subtype)):
        message = f"{mime_type!r:.200} is no MIME type; give one as 'image/png', without parameters"
        raise ValueError(message)
    return mime_type.lower()


def _is_token(text: str) -> bool:
    if len(text) > _LONGEST_TOKEN or not text.isascii():
        return False
    return text[:1].isalnum() and all(c.isalnum() or c in _IN_TOKEN for c in text)
