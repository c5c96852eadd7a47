"""Reads what is to be run from a request's body: JSON, or a form with what is to be looked at.

Both give the same ``Wanted``. What a plugin makes of the values is ToolRunner's to judge; here it
is only whether the request is one at all.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from toolrunner.api.http.errors import HttpError, RequestError, invalid
from toolrunner.plugins.errors import suggestion
from toolrunner.runner.errors import GovernedError
from toolrunner.runner.payloads import strict_json
from toolrunner.runner.payloads.files import MOST_FILES, validate_files_payload
from toolrunner.runner.payloads.intake import bytes_of
from toolrunner.runner.payloads.labels import labelled
from toolrunner.runner.payloads.validation import check_mime_type

MOST_RETRIES = 10
_FIELDS = ("plugin", "image", "mime_type", "options", "payload", "files")
_FILES = ("file", "files")  # parts of a form, as many as there are
_PARTS = (*_FIELDS, "file", "retries")
_JSON = frozenset({"options", "payload"})  # parts of a form that are JSON
_TEXT_BYTES = 1 << 20
_SMALL_BYTES = 1 << 18
_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for: a plugin, and what ``ToolRunner.run`` takes."""

    plugin: str
    payload: Mapping[str, Any]
    retries: int = 0


async def read_wanted(request: Request, *, is_job: bool = False) -> Wanted:
    """Read a request's body; raises RequestError. Jobs may have ``retries`` as well."""
    known = (*_FIELDS, "retries") if is_job else _FIELDS
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        message = f"Content-Encoding {coding[:100]!r} is not read here; send the body as it is"
        headers = {"Accept-Encoding": "identity"}
        raise RequestError(HttpError.UNSUPPORTED_MEDIA_TYPE, message, headers=headers)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        fields = await _parsed_aside(await request.body(), "the body")
        request._body = b""  # which the request would keep until its call has ended
        _check_shapes(fields.get("files"))
    elif media_type == "multipart/form-data":
        fields = await _form(request)
    else:
        message = f"Content-Type {media_type[:100]!r} is not read here"
        message += "; send application/json or multipart/form-data"
        raise RequestError(HttpError.UNSUPPORTED_MEDIA_TYPE, message)
    if is_job:  # all of its files are decoded, and put on the disk
        return await run_in_threadpool(_wanted, fields, known, is_job=True)
    return _wanted(fields, known, is_job=False)


def _wanted(fields: Mapping[str, Any], known: Collection[str], *, is_job: bool) -> Wanted:
    for name in fields:
        if name not in known:
            message = f"unknown field {name[:100]!r}; {suggestion(name[:100], known)}"
            raise invalid(message)
    plugin = fields.get("plugin")
    if not isinstance(plugin, str) or not plugin:
        message = "plugin: name one, as a string; GET /v1/plugins lists them"
        raise invalid(message)
    retries = _whole(fields.get("retries", 0))
    if (
        not isinstance(retries, int)
        or isinstance(retries, bool)
        or not 0 <= retries <= MOST_RETRIES
    ):
        message = f"retries: an integer from 0 to {MOST_RETRIES}"
        raise invalid(message)
    if is_job:
        _check_image(fields)
        _check_files(fields)
    return Wanted(plugin, _payload(fields), int(retries))


def _payload(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    given = {"image", "mime_type", "options", "files"} & fields.keys()
    if not isinstance(fields.get("options", {}), dict):
        message = "options: it has to be an object"
        raise invalid(message)
    if "payload" not in fields:
        if not given & {"image", "files"}:
            message = (
                "give an image with its mime_type, files, or a payload for a plugin that takes JSON"
            )
            raise invalid(message)
        if "files" in given and given & {"image", "mime_type"}:
            message = "give files or an image, not both; each file has a mime_type of its own"
            raise invalid(message)
        return {name: fields[name] for name in sorted(given)}
    if given:
        message = f"give payload or {', '.join(sorted(given))}, not both"
        raise invalid(message)
    payload = fields["payload"]
    if not isinstance(payload, dict):
        message = "payload: it has to be an object"
        raise invalid(message)
    return payload


async def _parsed_aside(data: bytes, what: str) -> dict[str, Any]:
    """Parse what may be large: what takes long to parse holds up nobody else."""
    if len(data) > _SMALL_BYTES:
        return await run_in_threadpool(_parsed, data, what)
    return _parsed(data, what)


def _parsed(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = strict_json.loads(data)
    except strict_json.JsonError as error:
        message = f"{what}: {error}"
        raise invalid(message) from None
    if not isinstance(value, dict):
        message = f"{what}: it has to be a JSON object"
        raise invalid(message)
    return value


async def _form(request: Request) -> dict[str, Any]:
    """Read a form. What is large goes to disk; an image comes to memory only to be run.

    The route closes the form once it has answered.
    """
    _check_charset(request)
    try:
        async with aclosing(request.stream()) as stream:
            parser = _Form(request.headers, stream)
            # As request.form() does, whose parser takes what was cut off for a whole one.
            form = request._form = await parser.parse()
    except MultiPartException as error:
        message = f"the form cannot be read: {error.message}"
        if error.message == "Invalid multipart data.":
            message += " Begin the body with the first boundary, without a preamble"
        raise invalid(message) from None
    return await _fields(form, parser.json)


class _Form(MultiPartParser):
    """A parser that refuses a form of which the last boundary never comes."""

    _has_ended = False

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None]) -> None:
        """``json``: the parts that are JSON, which the form itself has as empty."""
        super().__init__(
            headers,
            stream,
            max_files=MOST_FILES,
            max_fields=len(_FIELDS) + 1,
            max_part_size=_TEXT_BYTES,
        )
        self.json: dict[str, bytes] = {}

    async def parse(self) -> FormData:
        """Read all of it; for whatever is raised meanwhile, what was uploaded is closed."""
        self.stream = self._to_its_end(self.stream)
        return await super().parse()

    def on_headers_finished(self) -> None:
        """Let a payload be as large as the body may be: it is what JSON would have carried."""
        super().on_headers_finished()
        is_payload = self._current_part.field_name == "payload"
        self.max_part_size = sys.maxsize if is_payload else _TEXT_BYTES

    def on_part_end(self) -> None:
        """Keep JSON as the bytes that it is parsed from: as text it would be there twice more."""
        part = self._current_part
        if part.file is not None or part.field_name not in _JSON:
            super().on_part_end()
            return
        self.items.append((part.field_name, ""))
        self.json.setdefault(part.field_name, bytes(part.data))
        part.data = bytearray()

    def on_end(self) -> None:
        """Note the last boundary."""
        self._has_ended = True

    async def _to_its_end(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for piece in stream:
            yield piece
        if not self._has_ended:
            message = "the form ends before its last boundary; send all of it"
            raise invalid(message)


def _check_charset(request: Request) -> None:
    """Refuse what Python knows as codecs beside text's own: some fail, or make no text."""
    _, options = parse_options_header(request.headers.get("content-type"))
    charset = options.get(b"charset", b"utf-8").decode("latin-1")
    if charset.lower() not in {"utf-8", "utf8"}:
        message = f"a form in the charset {charset[:100]!r} is not read here; send it in UTF-8"
        raise RequestError(HttpError.UNSUPPORTED_MEDIA_TYPE, message)


async def _fields(form: FormData, texts: dict[str, bytes]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    files: list[dict[str, Any]] = []
    image_type = None
    for name, value in form.multi_items():
        if name in fields:
            message = f"{name[:100]!r} is there more than once"
            raise invalid(message)
        _check_part(name, is_file=isinstance(value, UploadFile))
        if isinstance(value, UploadFile) and name in _FILES:
            # Handed on as an open file: it is copied from there.
            one = {"name": value.filename, "mime_type": value.content_type, "data": value.file}
            files.append(one)
        elif isinstance(value, UploadFile):
            fields[name] = await value.read()
            image_type = value.content_type
        elif name in _JSON:  # out of the form, which is there until the call has ended
            fields[name] = await _parsed_aside(texts.pop(name), name)
        elif name == "retries":
            fields[name] = _integer(value)
        else:
            fields[name] = value
    if image_type and "image" in fields:
        fields.setdefault("mime_type", image_type)
    if files:
        fields["files"] = files
    return fields


def _check_part(name: str, *, is_file: bool) -> None:
    """Refuse a part that has no such name, or is a file where there is none, with what to write."""
    shown = name[:100]
    if name not in _PARTS:
        hint = suggestion(shown, _PARTS)
        if is_file:
            hint = "send a file as -F files=@FILE, and an image as -F image=@FILE"
        message = f"unknown field {shown!r}; {hint}"
        raise invalid(message)
    may_be_file = name in {"image", *_FILES}
    if may_be_file and not is_file:
        message = (
            f"{shown!r} has to be a file: -F {shown}=@FILE, which is to have filename="
            '"..." in its Content-Disposition (filename* is not read)'
        )
        raise invalid(message)
    if is_file and not may_be_file:
        message = f"{shown!r} has to be text; of a file's content: -F '{shown}=<FILE'"
        raise invalid(message)


def _check_shapes(files: object) -> None:
    """Refuse what JSON cannot say of files; Python's own words for them are not for here."""
    if not isinstance(files, list):
        return
    for index, one in enumerate(files):
        if not isinstance(one, dict) or "data" not in one or "path" in one:
            message = f'"files[{index}]": give {{"name": …, "data": …}}, with data in base64'
            raise invalid(message)


def _check_image(fields: Mapping[str, Any]) -> None:
    """Refuse at once what could never run: of a job nobody hears before it has been its turn."""
    if "image" not in fields:
        return
    if not isinstance(fields["image"], str | bytes) or not fields["image"]:
        message = "image: a file, or base64 text, that is not empty"
        raise invalid(message)
    if isinstance(fields["image"], str):
        try:
            bytes_of(fields["image"], "image")
        except GovernedError as error:
            raise invalid(error.message) from None
    try:
        # Of a label that says nothing the content may say more, as it will when the job runs.
        check_mime_type(labelled(fields, (), 0).get("mime_type"))
    except GovernedError as error:
        raise invalid(error.message) from None


def _check_files(fields: Mapping[str, Any]) -> None:
    """Refuse files at once that no plugin would take."""
    if "files" not in fields:
        return
    try:
        validate_files_payload({"files": fields["files"]})
    except GovernedError as error:
        raise invalid(error.message) from None


def _whole(value: object) -> object:
    """Return a number without a fraction as an integer: JSON has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _integer(text: str) -> object:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else text
