"""What goes into a plugin and what comes out: checked here, on both ways.

ToolRunner calls these before a plugin is started and after it has answered. They see payloads
and parsed replies, never plugin code, and raise nothing but ``GovernedError``.
"""

import base64
import binascii
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from toolrunner.plugins.fields import is_mime_type
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.payloads.json_values import quote
from toolrunner.runner.payloads.json_writing import dumps
from toolrunner.runner.payloads.schema import check_schema
from toolrunner.runner.payloads.strict_json import (
    JsonError,
    NotJsonError,
    TooManyValuesError,
    check,
    loads,
)
from toolrunner.sandbox.limits import MIB

VALUES_LIMIT = "output_values"  # not the manifest's to set: it is the reader's own protection
_BASE64_SLICE = 1 << 18  # characters; a multiple of four


@dataclass(frozen=True)
class Payload:
    """A payload that may be sent: ``head`` is strict JSON, ``image`` travels beside it, raw."""

    head: dict[str, Any]
    image: bytes | None = None

    # Not functools.cached_property: its lock, up to Python 3.11, is one that a fork would copy.
    _written: list[bytes] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def head_json(self) -> bytes:
        """The head as UTF-8 JSON text, written once."""
        if not self._written:
            self._written.append(dumps(self.head))
        return self._written[0]

    @property
    def size_bytes(self) -> int:
        """How many bytes travel to the plugin."""
        return len(self.head_json) + len(self.image or b"")


def validate_input_payload(payload: Mapping[str, Any]) -> Payload:
    """Check the payload of a plugin with ``input = "image"``; return it ready to be sent."""
    head = _object(payload)
    if "image" not in head or head["image"] is None:
        _refuse('"image" is missing; give the bytes of an image, or base64 text')
    image = _image(head.pop("image"))
    check_mime_type(head.get("mime_type"))
    _check_strict(head)
    return Payload(head, image)


def validate_json_payload(
    payload: Mapping[str, Any], schema: Mapping[str, Any] | None = None
) -> Payload:
    """Check the payload of a plugin with ``input = "json"``, against its schema if it has one."""
    head = _object(payload)
    _check_strict(head)
    if schema is not None:
        check_schema(head, schema)
    return Payload(head)


def check_mime_type(mime_type: object) -> None:
    """Refuse what is no MIME type; whether the plugin takes it, ``check_accepts`` says."""
    example = 'the type of the image, such as "image/png"'
    if mime_type is None:
        _refuse(f'"mime_type" is missing; give {example}')
    if not isinstance(mime_type, str):
        kind = type(mime_type).__name__
        _refuse(f'"mime_type" is of type {kind}; give a string with {example}')
    if not mime_type.strip():
        _refuse(f'"mime_type" is empty; give {example}')
    if not is_mime_type(_essence(mime_type)):
        _refuse(f'"mime_type" is {quote(mime_type)}, which is no MIME type; give {example}')


def _essence(mime_type: str) -> str:
    """Return a MIME type without its parameters, in lower case."""
    return mime_type.partition(";")[0].strip().lower()


def check_accepts(mime_type: str, accepts: Collection[str], plugin: str) -> None:
    """Refuse a MIME type that the plugin does not list; case and parameters do not matter."""
    accepted = [known.lower() for known in accepts]
    if _essence(mime_type) not in accepted:
        takes = ", ".join(accepted) or "nothing"
        _refuse(f"{plugin} does not take {quote(mime_type)}; it takes: {takes}")


def check_size(payload: Payload, payload_mb: float) -> None:
    """Refuse a payload that is larger than the plugin takes."""
    size = payload.size_bytes
    if size <= payload_mb * MIB:
        return
    taken = f"{payload_mb:g} MiB"
    shown = f"{size / MIB:.1f} MiB" if size / MIB >= payload_mb + 0.05 else f"{size} bytes"
    details = {
        "limit": {
            "name": "payload_mb",
            "configured": payload_mb,
            "observed": round(size / MIB, 3),
        }
    }
    message = f"the payload is {shown}, the plugin takes {taken}"
    raise GovernedError(ErrorType.VALIDATION_ERROR, message, details)


def validate_plugin_output(output: object) -> dict[str, Any]:
    """Return what a plugin returned if it is a strict JSON object."""
    result = _result(output)
    try:
        check(result, what="result")
    except JsonError as error:
        raise GovernedError(ErrorType.OUTPUT_VALIDATION_ERROR, str(error)) from None
    return result


def parse_result(body: bytes) -> dict[str, Any]:
    """Return the result in a reply's JSON text; the text may be anything at all."""
    try:
        output = loads(body)
    except TooManyValuesError as error:
        details = {
            "limit": {
                "name": VALUES_LIMIT,
                "configured": error.most,
                "observed": error.observed,
            }
        }
        message = f"the reply holds {error}; return large tables as text"
        raise GovernedError(ErrorType.OUTPUT_LIMIT_EXCEEDED, message, details) from None
    except NotJsonError as error:
        message = f"the reply is malformed: {error}"
        raise GovernedError(ErrorType.PROTOCOL_ERROR, message) from None
    except JsonError as error:
        raise GovernedError(ErrorType.OUTPUT_VALIDATION_ERROR, f"result: {error}") from None
    return _result(output)


class ResultReader:
    """Reads a call's reply once: whether it is a result may be asked before it is wanted."""

    def __init__(self) -> None:
        self._known: tuple[bytes, dict[str, Any]] | None = None

    def is_sound(self, body: bytes) -> bool:
        """Tell whether a reply's JSON text is a result."""
        try:
            self._known = body, parse_result(body)
        except GovernedError:
            return False
        return True

    def known(self, body: bytes) -> dict[str, Any] | None:
        """Return the result in a reply's JSON text, if it has been read."""
        if self._known is not None and self._known[0] is body:
            return self._known[1]
        return None


def _result(output: object) -> dict[str, Any]:
    if isinstance(output, dict):
        return output
    if output is None:
        what = "None (perhaps a return is missing)"
    else:
        what = f"a value of type {type(output).__name__}"
    message = f'run returned {what}; it has to return a dict, such as {{"value": …}}'
    raise GovernedError(ErrorType.OUTPUT_VALIDATION_ERROR, message)


def _object(payload: object) -> dict[str, Any]:
    if not isinstance(payload, Mapping):
        _refuse(f"the payload is of type {type(payload).__name__}; give a dict")
    return dict(payload)


def _check_strict(head: dict[str, Any]) -> None:
    try:
        check(head)
    except JsonError as error:
        _refuse(str(error))


def _image(image: object) -> bytes:
    """Return an image's bytes; a copy, so that nobody changes them while they are sent."""
    match image:
        case str():
            data = _from_base64(image)
        case bytes() | bytearray():
            data = bytes(image)
        case memoryview():
            data = _from_view(image)
        case _:
            kind = type(image).__name__
            _refuse(f'"image" is of type {kind}; give bytes, or a string of base64')
    if not data:
        _refuse('"image" is empty; give the bytes of an image, or base64 text')
    return data


def _from_view(view: memoryview) -> bytes:
    try:
        return view.tobytes()
    except ValueError:  # a view that was released
        _refuse('"image" is a memoryview that was released; give bytes')


def _from_base64(text: str) -> bytes:
    """Decode base64 as RFC 4648 writes it: one text for one value, nothing in between."""
    if text.startswith("data:"):
        _refuse('"image" is a data: URL; give only what stands after its comma')
    try:
        data = b"".join(_decoded(text))
        tail = text[-4:]
        is_canonical = len(text) % 4 == 0 and _again(tail) == tail
    except (binascii.Error, ValueError):
        is_canonical = False
    if not is_canonical:
        _refuse(
            '"image" is not strict base64; write it in the standard alphabet, padded with "=" '
            "and without line breaks"
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


def _refuse(message: str) -> NoReturn:
    raise GovernedError(ErrorType.VALIDATION_ERROR, message) from None
