"""The payload of a plugin that takes files: checked, and known by size before a byte is copied.

A file is given by its bytes, by a path or as an open file. Only code in this process can give a
path: JSON has none, so a request over HTTP can never name a file of this host.
"""

import contextlib
import io
import mimetypes
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolrunner.plugins.errors import suggestion
from toolrunner.runner.errors import GovernedError
from toolrunner.runner.payloads.intake import bytes_of, check_strict, object_of, refuse
from toolrunner.runner.payloads.json_values import quote
from toolrunner.runner.payloads.labels import LOOKED_AT_BYTES, accepted_as
from toolrunner.runner.payloads.mime import UNKNOWN, guess
from toolrunner.runner.payloads.validation import Payload, check_accepts, check_mime_type
from toolrunner.sandbox.input_files import InputFile, look_at, start_of

MOST_FILES = 256
_LONGEST_NAME = 200  # bytes; the file systems of most hosts take 255
_LONGEST_TYPE = 255
_KEYS = ("name", "mime_type", "data", "path")
# The table of the library alone: what this host has beside it would make another type elsewhere.
_TYPES = mimetypes.MimeTypes()


def validate_files_payload(
    payload: Mapping[str, Any], accepts: Collection[str] = (), plugin: str = ""
) -> Payload:
    """Check the payload of a plugin with ``input = "files"``; return it ready to be sent.

    ``accepts``: the only types that the plugin takes, if it says so.
    """
    head = object_of(payload)
    given = head.pop("files", None)
    if given is None:
        if "image" in head:
            refuse(
                '"files" is missing: the plugin takes files, and no image; give it as one of'
                ' "files", in a form as -F files=@FILE'
            )
        refuse('"files" is missing; give a list of files: {"name": …, "data": …}')
    if not isinstance(given, list | tuple):
        refuse(f'"files" is of type {type(given).__name__}; give a list of files')
    if not given:
        refuse('"files" is empty; give at least one file')
    if len(given) > MOST_FILES:
        refuse(f'"files" holds {len(given)} files; a call takes {MOST_FILES}')
    check_strict(head)
    files: dict[str, InputFile] = {}
    for number, one in enumerate(given):
        file = _labelled(_looked_through(one, f"files[{number}]"), accepts)
        if file.name in files:
            twice = quote(file.name)
            refuse(f'"files" holds two files with the name {twice}; give each its own "name"')
        if accepts:
            check_accepts(file.mime_type, accepts, plugin)
        files[file.name] = file
    return Payload(head, files=tuple(files.values()))


def with_image_as_file(payload: Payload) -> Payload:
    """Return the same payload with its image as its one file: a program is given no bytes."""
    image, mime_type = payload.image or b"", payload.head["mime_type"]
    ending = _TYPES.guess_extension(mime_type) or ""
    file = InputFile(f"image{ending}", mime_type, image, len(image))
    return Payload(payload.head, files=(file,))


def guess_type(name: str) -> str:
    """Return the type of a file that has none given, by its name."""
    return _TYPES.guess_type(name)[0] or UNKNOWN


def check_name(name: object, key: str) -> str:
    """Return a file's name if it may have it: one step of a path, which people can read."""
    if not isinstance(name, str):
        refuse(f'"{key}" is of type {type(name).__name__}; give a string')
    example = 'give a name such as "report.pdf"'
    if not name:
        refuse(f'"{key}" is empty; {example}')
    if "/" in name or name.startswith("."):
        refuse(f'"{key}" is {quote(name)}: no "/" in it and no "." in front; {example}')
    if not name.isprintable():  # nor what is no text, as half of a surrogate pair
        refuse(f'"{key}" is {quote(name)}, with characters that nobody can see; {example}')
    size = len(name.encode())
    if size > _LONGEST_NAME:
        refuse(f'"{key}" is {size} bytes long; give one of at most {_LONGEST_NAME}')
    return name


def _looked_through(given: object, key: str) -> InputFile:
    """Return a file of whatever was given: the code of a caller's own object raises anything."""
    try:
        return _file(given, key)
    except (GovernedError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - see above
        refuse(f'"{key}" cannot be read: {type(error).__name__}; give bytes, or a Path')


def _file(given: object, key: str) -> InputFile:
    if isinstance(given, os.PathLike):
        given = {"path": given}
    if not isinstance(given, Mapping):
        refuse(
            f'"{key}" is of type {type(given).__name__}; give {{"name": …, "data": …}}, or a Path'
        )
    for known in given:
        if known not in _KEYS:
            refuse(
                f'"{key}" has an unknown key {quote(str(known))}; {suggestion(str(known), _KEYS)}'
            )
    if ("path" in given) == ("data" in given):
        refuse(f'"{key}" needs either "data" or "path"')
    if "path" in given:
        return _at_path(given, key)
    name = check_name(given.get("name", ""), f"{key}.name")
    mime_type = _type_of(given, name, key)
    data = given["data"]
    if hasattr(data, "fileno") or hasattr(data, "read"):
        return _open_file(data, name, mime_type, f"{key}.data")
    content = bytes_of(data, f"{key}.data")
    return InputFile(name, mime_type, content, len(content))


def _at_path(given: Mapping[Any, Any], key: str) -> InputFile:
    path = given["path"]
    if not isinstance(path, os.PathLike):
        refuse(
            f'"{key}.path" is of type {type(path).__name__}; give a pathlib.Path. JSON cannot name '
            'a file: send its bytes in base64 as "data"'
        )
    where = str(Path(os.fsdecode(path)).absolute())
    name = check_name(given.get("name", Path(where).name), f"{key}.name")
    mime_type = _type_of(given, name, key)
    try:
        size, stamp = look_at(where)
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        refuse(f'"{key}.path": {quote(where)} cannot be read: {_words(error)}')
    return InputFile(name, mime_type, where, size, stamp)


def _open_file(file: object, name: str, mime_type: str, key: str) -> InputFile:
    """Take all of an open file, wherever it stands."""
    if isinstance(file, io.TextIOBase):
        refuse(f'"{key}" is a file that is open as text; open it with "rb"')
    if isinstance(file, io.BytesIO):
        content = file.getvalue()
        return InputFile(name, mime_type, content, len(content))
    try:
        getattr(file, "flush", int)()  # what was written to it is not in the file yet
        descriptor: int = getattr(file, "fileno")()  # noqa: B009 - any object may be given
        size, stamp = look_at(descriptor)
    except (AttributeError, OSError, ValueError) as error:  # ValueError: it is closed
        words = _words(error)
        refuse(f'"{key}" is no open file on a disk ({words}); give bytes, a Path, or such a file')
    return InputFile(name, mime_type, descriptor, size, stamp)


def _labelled(file: InputFile, accepts: Collection[str]) -> InputFile:
    """Return a file with the label that the plugin takes, if one can be told.

    What neither its caller nor its name says is told from its first bytes.
    """
    mime_type = file.mime_type
    if mime_type == UNKNOWN:
        with contextlib.suppress(OSError):  # it is told when it is copied
            mime_type = guess(start_of(file.source, LOOKED_AT_BYTES))
    mime_type = accepted_as(mime_type, accepts) or mime_type
    return file if mime_type == file.mime_type else replace(file, mime_type=mime_type)


def _type_of(given: Mapping[Any, Any], name: str, key: str) -> str:
    mime_type = given.get("mime_type")
    if mime_type is None or mime_type == UNKNOWN:  # which says as much, and clients write it
        return guess_type(name)
    check_mime_type(mime_type, f"{key}.mime_type", "file")
    text = str(mime_type)
    example = 'give the type of the file, such as "image/png"'
    if len(text) > _LONGEST_TYPE:  # parameters are the plugin's to read, and no place for more
        refuse(
            f'"{key}.mime_type" has {len(text)} characters, more than {_LONGEST_TYPE}; {example}'
        )
    if not text.isprintable():
        words = "with characters that nobody can see"
        refuse(f'"{key}.mime_type" is {quote(text)}, {words}; {example}')
    return text


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error)
