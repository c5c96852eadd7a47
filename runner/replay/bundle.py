"""What is kept of one failed call, as files in a folder: a bundle.

``keeping`` writes bundles, the command ``replay`` reads them. What is read may have been written by
anybody: it is checked, and nothing in it names a file outside of its folder.

    call.json      what was called, in which circumstances, and how it ended
    payload.json   the payload, but for what lies beside it
    image          the image, if there was one
    files/0, 1 ... the files, in the order in which they were given
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolrunner.runner.payloads.strict_json import JsonError, loads

CALL, PAYLOAD, IMAGE, FILES = "call.json", "payload.json", "image", "files"
_MOST_CALL_BYTES = 4 << 20
_WITHIN = "what a bundle is made of lies in its folder, in files"


class BundleError(Exception):
    """There is no bundle, or one that cannot be used; the text says why, and what to do."""


class KeptFile(BaseModel):
    """One file of the payload; its content lies in the bundle under its number."""

    model_config = ConfigDict(frozen=True)

    name: str
    mime_type: str
    bytes: Annotated[int, Field(ge=0)]


class FailedCall(BaseModel):
    """What is written down of a call beside its payload.

    ``limits``: those that were in force. ``environment``: of the plugin's own, "" for the runner's
    libraries. ``envelope``: whole, with the traceback. ``not_kept``: why the payload is missing.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    call_id: str
    caller: str
    failed_at: str
    plugin: str
    version: str
    fingerprint: str
    input: Literal["image", "json", "files"]
    environment: str
    limits: dict[str, int | float]
    envelope: dict[str, Any]
    payload_bytes: int
    files: tuple[KeptFile, ...] = ()
    not_kept: str = ""

    @property
    def error(self) -> Mapping[str, Any]:
        """The public part of the envelope."""
        error: Mapping[str, Any] = self.envelope["error"]
        return error


class Bundle:
    """A bundle that was found; its payload is read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Read what was written down of the call; raises BundleError."""
        self.folder = folder
        try:
            with _opened(folder / CALL) as file:
                text = file.read(_MOST_CALL_BYTES + 1)
            self.call = FailedCall.model_validate(loads(text))
            error = self.call.error
            _ = (error["type"], error["message"], error["details"]["call_id"])
        except OSError as error:
            raise BundleError(f"{folder / CALL} cannot be read: {error.strerror}") from None
        except (JsonError, ValidationError, KeyError, TypeError) as error:
            message = f"{folder / CALL} is not what --keep-failures writes: {_first_line(error)}"
            raise BundleError(message) from None

    def payload(self) -> dict[str, Any]:
        """Return the payload, ready to be given to a plugin again; raises BundleError.

        Files are given by path: they are read when they are copied to the plugin.
        """
        call = self.call
        if call.not_kept:
            message = f"the payload of call {call.call_id} was not kept: {call.not_kept}"
            raise BundleError(message)
        try:
            with _opened(self.folder / PAYLOAD) as file:
                payload = loads(file.read())
            if not isinstance(payload, dict):
                raise BundleError(f"{self.folder / PAYLOAD} holds no JSON object")
            if call.input == "image":
                with _opened(self.folder / IMAGE) as file:
                    payload["image"] = file.read()
            elif call.input == "files":
                payload["files"] = [
                    self._file(number, file) for number, file in enumerate(call.files)
                ]
        except OSError as error:
            raise BundleError(f"{error.filename} cannot be read: {error.strerror}") from None
        except JsonError as error:
            raise BundleError(f"{self.folder / PAYLOAD}: {error}") from None
        return payload

    def _file(self, number: int, file: KeptFile) -> dict[str, Any]:
        if (self.folder / FILES).is_symlink():
            raise BundleError(f"{self.folder / FILES} is a link: {_WITHIN}")
        path = self.folder / FILES / str(number)
        with _opened(path) as opened:
            size = os.fstat(opened.fileno()).st_size
        if size != file.bytes:
            message = f"{path} holds {size} bytes, and the file that was given had {file.bytes}"
            raise BundleError(message)
        return {"name": file.name, "mime_type": file.mime_type, "path": path}


def _opened(path: Path) -> BinaryIO:
    """Open a file of a bundle; raises OSError, and BundleError for a link, a pipe or a device."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.fdopen(os.open(path, flags), "rb")
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise BundleError(f"{path} is a link, or no ordinary file: {_WITHIN}") from None
        raise
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise BundleError(f"{path} is no ordinary file: {_WITHIN}")
    return file


def bundles_at(path: Path) -> Iterator[Path]:
    """Yield the folder of the bundle at a path, or of each bundle in it, the oldest first.

    Raises BundleError for a path that leads to none.
    """
    if (path / CALL).is_file():
        yield path
        return
    if path.name == CALL and path.is_file():
        yield path.parent
        return
    try:
        found = sorted(inner.parent for inner in path.glob(f"*/{CALL}"))
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from None
    # What begins with a dot is still being written.
    found = [folder for folder in found if not folder.name.startswith(".")]
    if not found:
        what = "there is no failed call in it" if path.is_dir() else "there is no such folder"
        message = f"{path}: {what}; name a folder that --keep-failures has written"
        raise BundleError(message)
    yield from found


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if isinstance(error, KeyError):
        return f"{error} is missing in its envelope"
    return str(error).partition("\n")[0]
