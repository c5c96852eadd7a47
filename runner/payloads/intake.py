"""What callers give, taken as what it is meant to be; what cannot be is refused in words.

Used for every kind of payload. Whatever is refused is the caller's ``ValidationError``.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.payloads.strict_json import JsonError, check

_BASE64_SLICE = 1 << 18  # characters; a multiple of four


def refuse(message: str) -> NoReturn:
    """Blame the caller."""
    raise GovernedError(ErrorType.VALIDATION_ERROR, message) from None


def object_of(payload: object) -> dict[str, Any]:
    """Return a payload's values, in a dict of our own."""
    if not isinstance(payload, Mapping):
        refuse(f"the payload is of type {type(payload).__name__}; give a dict")
    return dict(payload)


def check_strict(head: dict[str, Any]) -> None:
    """Refuse what strict JSON cannot carry."""
    try:
        check(head)
    except JsonError as error:
        refuse(str(error))


def bytes_of(given: object, key: str) -> bytes:
    """Return the bytes that a caller has given; a copy, so that nobody changes them meanwhile.

    ``key``: where they stand in the payload.
    """
    match given:
        case str():
            return _from_base64(given, key)
        case bytes() | bytearray():
            return bytes(given)
        case memoryview():
            return _from_view(given, key)
        case _:
            kind = type(given).__name__
            refuse(f'"{key}" is of type {kind}; give bytes, or a string of base64')


def _from_view(view: memoryview, key: str) -> bytes:
    try:
        return view.tobytes()
    except ValueError:  # a view that was released
        refuse(f'"{key}" is a memoryview that was released; give bytes')


def _from_base64(text: str, key: str) -> bytes:
    """Decode base64 as RFC 4648 writes it: one text for one value, nothing in between."""
    if text.startswith("data:"):
        refuse(f'"{key}" is a data: URL; give only what stands after its comma')
    try:
        data = b"".join(_decoded(text))
        tail = text[-4:]
        is_canonical = len(text) % 4 == 0 and _again(tail) == tail
    except (binascii.Error, ValueError):
        is_canonical = False
    if not is_canonical:
        # No base64 has a dot, and nearly every file's name does.
        hint = "; in Python the path of a file is given as a Path" if "." in text[-5:] else ""
        refuse(
            f'"{key}" is not strict base64; write it in the standard alphabet, padded with "=" '
            f"and without line breaks{hint}"
        )
    return data


def _decoded(text: str) -> Iterator[bytes]:
    """Yield the bytes of base64 text slice by slice: the decoder lets no other thread run."""
    for start in range(0, len(text), _BASE64_SLICE):
        part = text[start : start + _BASE64_SLICE]
        if "=" in part and start + _BASE64_SLICE < len(text):
            message = "padding before the end"
            raise ValueError(message)
        yield binascii.a2b_base64(part, strict_mode=True)


def _again(tail: str) -> str:
    """Return the last quantum as an encoder would write it: its spare bits may not be set."""
    return base64.b64encode(base64.b64decode(tail, validate=True)).decode()
