"""What type an image is said to be: the one rule, for every door.

The label counts, and the content is not looked at: it is for the plugin to find out whether the
bytes are what their label says. A label that says nothing (none at all, or
``application/octet-stream``) is replaced by what the first bytes suggest; one that names a type by
another of its names counts as that type. ToolRunner asks here before it validates.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn

from toolrunner.plugins.errors import shown
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.payloads.mime import UNKNOWN, guess
from toolrunner.sandbox.limits import MIB

LOOKED_AT_BYTES = 3 << 10  # a multiple of three: so base64 text of it can be decoded by itself

# Names that programs write for types which are registered, or usual, under another.
_OTHER_NAMES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/tif": "image/tiff",
    "image/x-tiff": "image/tiff",
    "image/x-bmp": "image/bmp",
    "image/x-ms-bmp": "image/bmp",
    "image/x-webp": "image/webp",
    "image/ico": "image/x-icon",
    "image/vnd.microsoft.icon": "image/x-icon",
    "image/svg": "image/svg+xml",
    "application/x-pdf": "application/pdf",
}


def essence(mime_type: str) -> str:
    """Return a MIME type without its parameters, in lower case."""
    return mime_type.partition(";")[0].strip().lower()


def accepted_as(mime_type: str, accepts: Collection[str]) -> str | None:
    """Return the type of a plugin's ``accepts`` that a label names, ``None`` if it names none."""
    named = essence(mime_type)
    known = {essence(one): one for one in accepts}
    if named in known:
        return named
    usual = _OTHER_NAMES.get(named, named)
    return next((one for one in known if _OTHER_NAMES.get(one, one) == usual), None)


def labelled(payload: Any, accepts: Collection[str], most_mb: float) -> Any:  # noqa: ANN401 - judged by others
    """Return the payload with an image that is bytes or text, and with a label if one can be told.

    A ``Path`` as ``image`` is read, up to ``most_mb``. What is no payload is returned as it is;
    GovernedError is raised for a file alone.
    """
    if not isinstance(payload, Mapping):
        return payload
    image, label = payload.get("image"), payload.get("mime_type")
    changed: dict[str, Any] = {}
    if isinstance(image, os.PathLike):
        image = changed["image"] = _read(image, most_mb)
    if label is None or _says_nothing(label, accepts):
        found = _guessed(image)
        if found is not None:
            changed["mime_type"] = accepted_as(found, accepts) or found
    elif isinstance(label, str):
        accepted = accepted_as(label, accepts)
        if accepted is not None and accepted != essence(label):
            changed["mime_type"] = accepted
    return {**payload, **changed} if changed else payload


def _says_nothing(label: object, accepts: Collection[str]) -> bool:
    return isinstance(label, str) and essence(label) == UNKNOWN and UNKNOWN not in accepts


def _guessed(image: object) -> str | None:
    """Return what the first bytes of an image suggest, ``None`` if they suggest nothing."""
    match image:
        case str():
            try:
                start = base64.b64decode(image[: LOOKED_AT_BYTES // 3 * 4], validate=True)
            except (binascii.Error, ValueError):
                return None
        case bytes() | bytearray():
            start = bytes(image[:LOOKED_AT_BYTES])
        case memoryview():
            try:
                start = image.tobytes()[:LOOKED_AT_BYTES] if image.nbytes else b""
            except ValueError:  # it was released
                return None
        case _:
            return None
    found = guess(start)
    return None if found == UNKNOWN else found


def _read(given: os.PathLike[Any], most_mb: float) -> bytes:
    """Return the bytes of a file that the caller names; never waits for one that is a pipe."""
    path = Path(os.fsdecode(given))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                _refuse(f'"image": {shown(path)} is no file; give the path of one, or bytes')
            data = file.read(int(most_mb * MIB) + 1)
    except FileNotFoundError:
        _refuse(f'"image": {shown(path)}: there is no such file; correct the path')
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        _refuse(f'"image": {shown(path)} cannot be read: {error}')
    if len(data) > most_mb * MIB:
        observed = round(max(found.st_size, len(data)) / MIB, 3)
        limit = {"name": "payload_mb", "configured": most_mb, "observed": observed}
        message = f'"image": {shown(path)} is larger than {most_mb:g} MiB, which the plugin takes'
        raise GovernedError(ErrorType.VALIDATION_ERROR, message, {"limit": limit})
    return data


def _refuse(message: str) -> NoReturn:
    raise GovernedError(ErrorType.VALIDATION_ERROR, message) from None
