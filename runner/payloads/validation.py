"""What goes into a plugin and what comes out: checked here, on both ways.

ToolRunner calls these before a plugin is started and after it has answered. They see payloads
and parsed replies, never plugin code, and raise nothing but ``GovernedError``.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from toolrunner.plugins.fields import is_mime_type
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.payloads.declared_errors import check_no_error
from toolrunner.runner.payloads.intake import bytes_of, check_strict, object_of, refuse
from toolrunner.runner.payloads.json_values import quote
from toolrunner.runner.payloads.json_writing import dumps
from toolrunner.runner.payloads.mime import UNKNOWN
from toolrunner.runner.payloads.schema import check_output, check_schema
from toolrunner.runner.payloads.strict_json import (
    JsonError,
    NotJsonError,
    TooManyValuesError,
    check,
    loads,
)
from toolrunner.sandbox.input_files import InputFile
from toolrunner.sandbox.limits import MIB

_MALFORMED = "the reply is malformed: "
VALUES_LIMIT = "output_values"  # not the manifest's to set: it is the reader's own protection


@dataclass(frozen=True)
class Payload:
    """A payload that may be sent: ``head`` is strict JSON, ``image`` travels beside it, raw.

    ``files`` are copied to where the plugin may read them; ``None`` if it takes none.
    """

    head: dict[str, Any]
    image: bytes | None = None
    files: tuple[InputFile, ...] | None = None

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
        """How many bytes travel to the plugin: of files also what they are called."""
        files = sum(
            file.size + len(file.name.encode()) + len(file.mime_type.encode())
            for file in self.files or ()
        )
        return len(self.head_json) + len(self.image or b"") + files


def validate_input_payload(payload: Mapping[str, Any]) -> Payload:
    """Check the payload of a plugin with ``input = "image"``; return it ready to be sent."""
    head = object_of(payload)
    if "image" not in head or head["image"] is None:
        if "files" in head:
            refuse(
                '"image" is missing: the plugin takes one image, and no files; give it as "image"'
                " with its mime_type, in a form as -F image=@FILE"
            )
        refuse('"image" is missing; give the bytes of an image, or base64 text')
    image = bytes_of(head.pop("image"), "image")
    if not image:
        refuse('"image" is empty; give the bytes of an image, or base64 text')
    check_mime_type(head.get("mime_type"))
    check_strict(head)
    return Payload(head, image)


def validate_json_payload(
    payload: Mapping[str, Any],
    schema: Mapping[str, Any] | None = None,
    payload_mb: float = math.inf,
    is_withdrawn: Callable[[], bool] = lambda: False,
) -> Payload:
    """Check the payload of a plugin with ``input = "json"``, against its schema if it has one.

    One that is larger than ``payload_mb`` is not held against the schema, which would take long;
    nor is the rest of one that ``is_withdrawn``.
    """
    _check_no_image(payload)
    head = object_of(payload)
    check_strict(head)
    checked = Payload(head)
    if schema is not None:
        check_size(checked, payload_mb)
        check_schema(head, schema, is_withdrawn)
    return checked


def _check_no_image(payload: object) -> None:
    """Refuse an image with what to send instead: that bytes are no JSON helps nobody."""
    if not isinstance(payload, Mapping):
        return
    if isinstance(payload.get("image"), bytes | bytearray | memoryview):
        refuse(
            "the plugin takes JSON, and no image: give what it asks for as its payload; over HTTP"
            ' as {"plugin": …, "payload": {…}} in JSON, on the command line as toolrunner run NAME'
            " --payload '{…}'"
        )


def check_mime_type(mime_type: object, key: str = "mime_type", of: str = "image") -> None:
    """Refuse what is no MIME type; whether the plugin takes it, ``check_accepts`` says.

    ``key``: where it stands in the payload; ``of``: what it is the type of.
    """
    example = f'the type of the {of}, such as "image/png"'
    if mime_type is None:
        refuse(f'"{key}" is missing; give {example}')
    if not isinstance(mime_type, str):
        kind = type(mime_type).__name__
        refuse(f'"{key}" is of type {kind}; give a string with {example}')
    if not mime_type.strip():
        refuse(f'"{key}" is empty; give {example}')
    if not is_mime_type(_essence(mime_type)):
        refuse(f'"{key}" is {quote(mime_type)}, which is no MIME type; give {example}')


def _essence(mime_type: str) -> str:
    """Return a MIME type without its parameters, in lower case."""
    return mime_type.partition(";")[0].strip().lower()


def check_accepts(mime_type: str, accepts: Collection[str], plugin: str) -> None:
    """Refuse a MIME type that the plugin does not list; case and parameters do not matter."""
    accepted = [known.lower() for known in accepts]
    if _essence(mime_type) not in accepted:
        takes = ", ".join(accepted) or "nothing"
        unknown = _essence(mime_type) == UNKNOWN
        why = "; what it was given begins like no type that is known here" if unknown else ""
        refuse(f"{plugin} does not take {quote(mime_type)}; it takes: {takes}{why}")


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
        message = f"{_MALFORMED}{error}"
        raise GovernedError(ErrorType.PROTOCOL_ERROR, message) from None
    except JsonError as error:
        raise GovernedError(ErrorType.OUTPUT_VALIDATION_ERROR, f"result: {error}") from None
    return _result(output)


def _printed_result(body: bytes) -> dict[str, Any]:
    """Return the result that a program has printed: what is no JSON is a mistake in its output."""
    try:
        return parse_result(body)
    except GovernedError as error:
        if error.error_type is not ErrorType.PROTOCOL_ERROR:
            raise
        what = error.message.removeprefix(_MALFORMED)
        message = f"standard output: {what}; print one JSON object there and nothing else"
        raise GovernedError(ErrorType.OUTPUT_VALIDATION_ERROR, message) from None


class ResultReader:
    """Reads a call's reply once: whether it is a result may be asked before it is wanted."""

    def __init__(
        self,
        error_key: str = "",
        output_schema: Mapping[str, Any] | None = None,
        *,
        is_printed: bool = False,
    ) -> None:
        """What the plugin's manifest says of its results: where errors stand, what they are.

        ``is_printed``: the reply's text is a program's own, and so are the mistakes in it.
        """
        self._is_printed = is_printed
        self._error_key = error_key
        self._output_schema = output_schema
        self._known: tuple[bytes, dict[str, Any]] | None = None

    def is_sound(self, body: bytes) -> bool:
        """Tell whether a reply's JSON text is a result."""
        try:
            self._known = body, self.checked(parse_result(body))
        except GovernedError:
            return False
        return True

    def known(self, body: bytes) -> dict[str, Any] | None:
        """Return the result in a reply's JSON text, if it has been read."""
        if self._known is not None and self._known[0] is body:
            return self._known[1]
        return self.checked(_printed_result(body)) if self._is_printed else None

    def checked(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return a result if it is what the plugin's manifest says of them."""
        check_no_error(result, self._error_key)
        if self._output_schema is not None:
            check_output(result, self._output_schema)
        return result


def _result(output: object) -> dict[str, Any]:
    if isinstance(output, dict):
        return output
    if output is None:
        what = "None (perhaps a return is missing)"
    else:
        what = f"a value of type {type(output).__name__}"
    message = f'run returned {what}; it has to return a dict, such as {{"value": …}}'
    raise GovernedError(ErrorType.OUTPUT_VALIDATION_ERROR, message)
