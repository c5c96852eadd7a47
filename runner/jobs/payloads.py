"""What a job is run with, as bytes: JSON, an image as it is, and files apart from both.

Nothing here has been validated: a payload is kept as it came, and its call says what is wrong.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.payloads.files import validate_files_payload
from toolrunner.runner.payloads.json_writing import dumps
from toolrunner.runner.payloads.strict_json import JsonError, loads
from toolrunner.sandbox.input_files import ChangedError, InputFile, copy


def files_apart(payload: Mapping[str, Any]) -> tuple[InputFile, ...]:
    """Return the files of a payload that JSON cannot carry; none if it can carry all of it."""
    given = payload.get("files")
    if not isinstance(given, list | tuple) or all(map(_is_json, given)):
        return ()
    return validate_files_payload({"files": given}).files or ()


def _is_json(given: object) -> bool:
    """Tell whether an entry is of JSON alone, or nothing that could be a file."""
    if isinstance(given, os.PathLike):
        return False
    return not isinstance(given, Mapping) or all(
        value is None or isinstance(value, str | int | float | list | dict)
        for value in given.values()
    )


def copy_file(file: InputFile, path: Path) -> str:
    """Copy a file of a payload to the disk; return the SHA-256 of what is there."""
    with path.open("xb+") as target:
        try:
            copy(file, target.fileno(), lambda: False)
        except ChangedError as error:
            raise GovernedError(ErrorType.VALIDATION_ERROR, str(error)) from None
        os.fsync(target.fileno())
        target.seek(0)
        return hashlib.file_digest(target, "sha256").hexdigest()


def let_go(payload: Mapping[str, Any]) -> None:
    """Close the files of a payload that were fetched for one run: without a name, they are gone."""
    files = payload.get("files")
    for one in files if isinstance(files, list) else ():
        if isinstance(one, Mapping) and isinstance(one.get("data"), io.IOBase):
            one["data"].close()


def encode_payload(payload: Mapping[str, Any]) -> bytes:
    """Return a payload as one file's bytes: the length of its JSON, that, and the raw image."""
    image = payload.get("image")
    head, tail = dict(payload), b""
    if isinstance(image, bytes | bytearray | memoryview):
        del head["image"]
        tail = bytes(image)
    text = dumps(head)
    # The first bit says whether there is an image, which may be empty.
    marked = len(text) << 1 | ("image" not in head and "image" in payload)
    return marked.to_bytes(8, "big") + text + tail


def decode_payload(data: bytes) -> dict[str, Any]:
    """Return the payload that ``encode_payload`` has written."""
    marked = int.from_bytes(data[:8], "big")
    end = 8 + (marked >> 1)
    payload = parsed(data[8:end])
    if marked & 1:
        payload["image"] = data[end:]
    return payload


def parsed(data: bytes) -> dict[str, Any]:
    """Return the object in a text of ours, read without stopping others where it is large."""
    value: Any
    try:
        value = loads(data, max_values=sys.maxsize)
    except JsonError:  # a payload that nobody has validated yet: its call will say what is wrong
        value = json.loads(data)
    return cast("dict[str, Any]", value)


def fingerprint(plugin: str, retries: int, payload: bytes) -> str:
    """Return what tells one submission from another."""
    digest = hashlib.sha256(payload)
    digest.update(f"\0{plugin}\0{retries}".encode())
    return digest.hexdigest()
