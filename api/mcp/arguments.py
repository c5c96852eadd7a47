"""A plugin's payload, made of the arguments of a tool; a file that is named by its path is read.

What a plugin makes of the values is ToolRunner's to judge. What cannot be read is a GovernedError.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, NoReturn

from toolrunner.api.mcp.folders import Folders
from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.errors import ErrorType, GovernedError

_OF_IMAGE = ("image", "mime_type", "options")
_OF_FILES = ("files", "options")


def payload_of(
    manifest: Manifest, arguments: Mapping[str, Any], folders: Folders | None, most_bytes: int
) -> dict[str, Any]:
    """Return the payload of a call. ``most_bytes``: of all files that are read for it."""
    if manifest.input == "json":
        return dict(arguments)
    if manifest.input == "image":
        return _of_image(arguments, folders, most_bytes)
    return _of_files(arguments, folders, most_bytes)


def _of_image(
    arguments: Mapping[str, Any], folders: Folders | None, most_bytes: int
) -> dict[str, Any]:
    payload = dict(arguments)
    _check_names(payload, _OF_IMAGE, folders)
    if folders and "path" in payload:
        path = payload.pop("path")
        if "image" in payload:
            _refuse("give the image or its path, not both")
        payload["image"] = _read(path, "path", folders, most_bytes)
    return payload


def _of_files(
    arguments: Mapping[str, Any], folders: Folders | None, most_bytes: int
) -> dict[str, Any]:
    payload = dict(arguments)
    _check_names(payload, _OF_FILES, None)
    files = payload.get("files")
    if not isinstance(files, list):
        return payload
    made = []
    for number, one in enumerate(files):
        where = f"files[{number}]"
        if not isinstance(one, dict) or ("data" not in one and not (folders and "path" in one)):
            way = ', or {"path": …}' if folders else ""
            _refuse(f'{where}: give {{"name": …, "data": …}}, with data in base64{way}')
        file = dict(one)
        if "path" in file:
            if not folders:
                _refuse(f"{where}: no file of the host can be named here; give its data in base64")
            if "data" in file:
                _refuse(f"{where}: give its data or its path, not both")
            path = file.pop("path")
            file["data"] = _read(path, f"{where}.path", folders, most_bytes)
            file.setdefault("name", PurePath(path).name)
            most_bytes -= len(file["data"])
        made.append(file)
    return {**payload, "files": made}


def _check_names(
    payload: Mapping[str, Any], known: tuple[str, ...], folders: Folders | None
) -> None:
    names = (*known, "path") if folders else known
    for name in payload:
        if name not in names:
            _refuse(f"unknown argument {name[:100]!r}; there are {', '.join(names)}")
    if not isinstance(payload.get("options", {}), dict):
        _refuse("options: it has to be an object")


def _read(path: object, where: str, folders: Folders, most_bytes: int) -> bytes:
    if not isinstance(path, str) or not path:
        _refuse(f"{where}: it has to be a path, as text")
    return folders.read(path, max(0, most_bytes))


def _refuse(message: str) -> NoReturn:
    raise GovernedError(ErrorType.VALIDATION_ERROR, message)
