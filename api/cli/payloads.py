"""Payloads from the command line: files, stdin, JSON text and ``KEY=VALUE`` options.

Called by ``commands``. What cannot be read is a ``GovernedError``, which blames the caller as the
runner would; nothing here reads more than a plugin would take.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from toolrunner.api.cli.exits import Refused
from toolrunner.api.cli.inputs import STDIN, inputs
from toolrunner.api.cli.misplaced import is_url
from toolrunner.plugins.errors import shown
from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.payloads.files import MOST_FILES
from toolrunner.runner.payloads.mime import guess
from toolrunner.runner.payloads.strict_json import JsonError, loads
from toolrunner.sandbox.limits import MIB

# JSON text may be larger than what it carries (base64, escapes); what it carries is checked later.
MAX_TEXT_BYTES = 512 * MIB


def image_payload(
    name: str, *, mime_type: str | None, options: Mapping[str, Any], max_bytes: int
) -> dict[str, Any]:
    """Read an image and return the payload for it; ``name`` is a path, or "-" for stdin."""
    data = _read(name, max_bytes)
    if not data:
        _refuse(f"{_told(name)} is empty; name a file with an image in it")
    payload: dict[str, Any] = {"image": data, "mime_type": mime_type or guess(data)}
    if options:
        payload["options"] = dict(options)
    return payload


def files_payload(
    names: Sequence[str], *, mime_type: str | None, options: Mapping[str, Any], max_bytes: int
) -> dict[str, Any]:
    """Return the payload with all of these files; each is read only when it is copied.

    ``names`` may be folders and patterns too. What is no file on a disk, as stdin or a pipe, is
    read here. A file whose name another one has already gets a number.
    """
    files: list[dict[str, Any]] = []
    taken: set[str] = set()
    for found in inputs(names, recursive=False):
        if found.problem:
            _refuse(found.problem)
        if len(files) == MOST_FILES:
            message = f"there are more than {MOST_FILES} files, the most that one call takes"
            _refuse(f"{message}; toolrunner analyze makes a call for each")
        file = _given(found.name, max_bytes)
        files.append({**file, "name": _free_name(file["name"], taken)})
    if not files:
        _refuse(f"there is no file in {' or '.join(map(shown, names))}")
    if mime_type is not None:
        files = [{**file, "mime_type": mime_type} for file in files]
    payload: dict[str, Any] = {"files": files}
    if options:
        payload["options"] = dict(options)
    return payload


def _given(name: str, max_bytes: int) -> dict[str, Any]:
    if name == STDIN:
        return {"name": "stdin", "data": _read(name, max_bytes)}
    path = Path(name)
    with _told_why(name), path.open("rb") as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return {"name": path.name, "path": path}
        # What writes to a pipe may do so for its first reader alone.
        return {"name": path.name, "data": _capped(file, name, max_bytes)}


def _free_name(wanted: str, taken: set[str]) -> str:
    """Return the name nearest to ``wanted`` that no file has yet, and take it."""
    path = Path(wanted)
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{path.stem}-{number}{path.suffix}"
    taken.add(name)
    return name


def json_payload(given: str) -> object:
    """Return what ``--payload`` says: JSON text, ``@FILE``, or ``-`` for stdin; not yet checked."""
    if given == STDIN:
        where, text = "stdin", _read(STDIN, MAX_TEXT_BYTES)
    elif given.startswith("@"):
        where, text = shown(given[1:]), _read(given[1:], MAX_TEXT_BYTES)
    else:
        where, text = "--payload", os.fsencode(given)
    try:
        return loads(text)
    except JsonError as error:
        hint = "; quote it for the shell, or use --payload @FILE" if where == "--payload" else ""
        _refuse(f"{where}: {error}{hint}")


def parse_options(given: Sequence[str]) -> dict[str, Any]:
    """Return ``KEY=VALUE`` options; a value is JSON if it can be, else text."""
    options: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            message = f"--option {shown(text)}: write KEY=VALUE, such as --option colours=3"
            raise Refused(message)
        try:
            options[key] = loads(os.fsencode(value))
        except JsonError as error:
            if value.lstrip().startswith(("{", "[", '"')):  # meant as JSON, so not text
                message = f"--option {shown(key)}: {error}"
                raise Refused(message) from None
            options[key] = value
    return options


def _read(name: str, max_bytes: int) -> bytes:
    with _told_why(name):
        if name == STDIN:
            return _capped(sys.stdin.buffer, name, max_bytes)
        with Path(name).open("rb") as file:
            return _capped(file, name, max_bytes)


@contextlib.contextmanager
def _told_why(name: str) -> Iterator[None]:
    """Say what to do about a file that cannot be read."""
    try:
        yield
    except FileNotFoundError:
        if is_url(name):
            url = shlex.quote(shown(name))
            _refuse(f"{url} is a URL, and files are read here: curl -fsSL {url} | toolrunner … -")
        _refuse(f"{_told(name)}: there is no such file; correct the path")
    except IsADirectoryError:
        _refuse(f"{_told(name)} is a folder; name the files in it: {shown(name)}/*")
    except PermissionError:
        _refuse(f"{_told(name)} cannot be read: permission denied; let this user read it")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        _refuse(f"{_told(name)} cannot be read: {error}")


def _capped(file: BinaryIO, name: str, max_bytes: int) -> bytes:
    """Read all of a file that may be endless, such as a device."""
    data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        message = f"{_told(name)} is larger than {max_bytes / MIB:g} MiB, the most that is taken"
        limit = {
            "name": "payload_mb",
            "configured": max_bytes / MIB,
            "observed": round(max(_size(file), len(data)) / MIB, 3),
        }
        raise GovernedError(ErrorType.VALIDATION_ERROR, message, {"limit": limit})
    return data


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _told(name: str) -> str:
    return "stdin" if name == STDIN else shown(name)


def _refuse(message: str) -> NoReturn:
    raise GovernedError(ErrorType.VALIDATION_ERROR, message) from None
