"""The folder of ``keep_failures``: what is needed to run failed calls again, up to a bound.

ToolRunner hands over each call that has failed, in the ``finally`` that records it. A bundle is
whole or not there, for its owner alone, and the oldest go first. Nothing here fails a call: what
cannot be written is said once in the log. Payloads may be private; by default nothing is kept.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from toolrunner.plugins.plugin import Plugin
from toolrunner.runner.call import Call
from toolrunner.runner.errors import Blame, ErrorType, GovernedError, harmless
from toolrunner.runner.failures import envelope_of
from toolrunner.runner.payloads.validation import Payload
from toolrunner.runner.registry.registry import PluginRegistry
from toolrunner.runner.replay.bundle import CALL, FILES, IMAGE, PAYLOAD, FailedCall, KeptFile
from toolrunner.runner.replay.fingerprint import fingerprint
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox import forks
from toolrunner.sandbox.ending import Usage
from toolrunner.sandbox.input_files import ChangedError, InputFile, copy
from toolrunner.sandbox.limits import MIB

_LOG = logging.getLogger("toolrunner.failures")
# Others in the folder are not ours to count or to delete.
_BUNDLE = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[a-z0-9-]+-[0-9a-f]{32}")
_UNFINISHED = re.compile(r"\.unfinished-[0-9a-f]{32}")
_LEFT_BEHIND_SECONDS = 3600  # by a process that was killed; no write takes as long
_LARGEST_SHARE = 4  # one payload may not push out most of the others
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Nothing of the plugin has run, or what the call was given is no part of the cause.
_NOT_WORTH_IT = frozenset({ErrorType.PLUGIN_UNAVAILABLE, ErrorType.OVERLOADED})


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that has failed, as ToolRunner knows it. ``caps``: those that were in force."""

    plugin: Plugin
    payload: Payload
    call: Call
    error: GovernedError
    caps: Mapping[str, float]

    @property
    def is_telling(self) -> bool:
        """Whether to run the call again may show something: the plugin, or the host, has failed it.

        What is the host's fault counts only where the plugin had been begun.
        """
        kind = self.error.error_type
        if kind in _NOT_WORTH_IT or kind.blame is Blame.CALLER:
            return False
        return kind is not ErrorType.SANDBOX_ERROR or self.call.usage != Usage()


class FailureKeeper:
    """Writes bundles into one folder, which several processes may share. Thread-safe."""

    def __init__(
        self, folder: Path, most_mb: int, most_calls: int, registry: PluginRegistry
    ) -> None:
        """Make the folder if it is not there. One that cannot be used is a warning in the log.

        ``most_mb`` and ``most_calls``: what all bundles together may be. ``registry``: knows which
        environment a plugin has.
        """
        self._folder = folder
        self._registry = registry
        self._most_bytes = most_mb * MIB
        self._most_calls = most_calls
        self._sizes: dict[str, int] = {}
        self._is_well = True
        self._in_child()
        forks.in_each_child(self, FailureKeeper._in_child)
        try:
            self._prepare()
        except OSError as error:
            self._complain(error)

    def _in_child(self) -> None:
        self._lock = threading.Lock()

    def keep(self, failure: Failure) -> None:
        """Write a call down, and delete the oldest ones to make room. Raises nothing."""
        if not failure.is_telling:
            return
        try:
            with self._lock:  # so that the bound holds, whatever fails at once
                self._prepare()
                self._write(failure)
        except OSError as error:
            self._complain(error)
        except Exception:  # noqa: BLE001 - a bug here may not cost a call its answer
            _LOG.exception("call %s is not kept: a bug", failure.call.call_id)
        else:
            self._is_well = True

    def _complain(self, error: OSError) -> None:
        """Say why nothing is kept, once until something is kept again."""
        if self._is_well:
            words = error.strerror or str(error)
            _LOG.warning("failed calls are not kept in %s: %s", self._folder, words)
        self._is_well = False

    def _prepare(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self._folder.stat()
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            message = "it is open to others; `chmod 700` it as its owner, or name a folder that is"
            raise PermissionError(0, f"{message} not there yet")

    def _write(self, failure: Failure) -> None:
        payload, is_image = failure.payload, failure.plugin.manifest.input == "image"
        # A program has its image as its one file.
        files = () if is_image else payload.files or ()
        most = self._most_bytes // _LARGEST_SHARE
        why = ""
        if payload.size_bytes > most:
            why = (
                f"it is {payload.size_bytes / MIB:.1f} MiB, and one may be {most / MIB:g}, a "
                f"quarter of keep_failures_mb"
            )
        unfinished = self._folder / f".unfinished-{failure.call.call_id}"
        try:
            try:
                size = self._fill(unfinished, failure, files, why)
            except ChangedError as error:
                shutil.rmtree(unfinished)
                size = self._fill(unfinished, failure, files, str(error))
            when = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
            name = f"{when}-{failure.plugin.name.replace(':', '-')}-{failure.call.call_id}"
            self._make_room(size)
            unfinished.rename(self._folder / name)
            self._sizes[name] = size
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _fill(
        self, folder: Path, failure: Failure, files: tuple[InputFile, ...], why_without: str
    ) -> int:
        """Write a bundle; return its bytes. ``why_without``: the payload is left out."""
        folder.mkdir(mode=0o700)
        size = 0
        payload = failure.payload
        if not why_without:
            size += _written(folder / PAYLOAD, payload.head_json)
            if failure.plugin.manifest.input == "image":
                size += _written(folder / IMAGE, _image_of(payload))
            if files:
                (folder / FILES).mkdir(mode=0o700)
            for number, file in enumerate(files):
                _copied(folder / FILES / str(number), file)
                size += file.size
        called = self._call_of(failure, files, why_without).model_dump_json(indent=2)
        return size + _written(folder / CALL, called.encode())

    def _call_of(
        self, failure: Failure, files: tuple[InputFile, ...], why_without: str
    ) -> FailedCall:
        manifest, call = failure.plugin.manifest, failure.call
        envelope = envelope_of(manifest.name, call, failure.error)
        environment = ""
        with contextlib.suppress(KeyError):  # it may have been taken out meanwhile
            environment = self._registry.choice(manifest.name).name
        return FailedCall(
            call_id=call.call_id,
            caller=harmless(call.caller),
            failed_at=envelope["error"]["timestamp"],
            plugin=manifest.name,
            version=manifest.version,
            fingerprint=fingerprint(failure.plugin),
            input=manifest.input,
            environment=environment,
            limits=asdict(manifest.limits.capped(failure.caps)),
            envelope=dict(envelope),
            payload_bytes=failure.payload.size_bytes,
            files=tuple(
                KeptFile(name=one.name, mime_type=one.mime_type, bytes=one.size) for one in files
            ),
            not_kept=why_without,
        )

    def _make_room(self, size: int) -> None:
        """Delete the oldest bundles, until one of that size goes in beside the others."""
        there = self._bundles()
        total = sum(there.values())
        for name in sorted(there):
            if total + size <= self._most_bytes and len(there) < self._most_calls:
                return
            shutil.rmtree(self._folder / name, ignore_errors=True)  # or another process has
            total -= there.pop(name)

    def _bundles(self) -> dict[str, int]:
        """Return what is there, with its bytes, and delete what a killed process has left."""
        found: dict[str, int] = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if _BUNDLE.fullmatch(entry.name):
                    known = self._sizes.get(entry.name)
                    found[entry.name] = _size_of(entry.path) if known is None else known
                elif _UNFINISHED.fullmatch(entry.name) and _is_left_behind(entry):
                    shutil.rmtree(entry.path, ignore_errors=True)
        self._sizes = dict(found)
        return found


def keeper_of(settings: Settings, registry: PluginRegistry) -> FailureKeeper | None:
    """Return what keeps failed calls by these settings; by default nothing does."""
    if settings.keep_failures is None:
        return None
    return FailureKeeper(
        settings.keep_failures, settings.keep_failures_mb, settings.keep_failures_calls, registry
    )


def _image_of(payload: Payload) -> bytes:
    if payload.image is not None:
        return payload.image
    assert payload.files is not None
    source = payload.files[0].source
    assert isinstance(source, bytes)
    return source


def _written(path: Path, data: bytes) -> int:
    with os.fdopen(os.open(path, _NEW, 0o600), "wb") as file:
        file.write(data)
    return len(data)


def _copied(path: Path, file: InputFile) -> None:
    target = os.open(path, _NEW, 0o600)
    try:
        copy(file, target, lambda: False)
    finally:
        os.close(target)


def _size_of(folder: str) -> int:
    """Return the bytes of the files below a folder; a link counts as itself."""
    size = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(where, name)).st_size  # noqa: PTH118 - as os.walk has it
            except OSError:
                continue  # another process makes room as well
    return size


def _is_left_behind(entry: os.DirEntry[str]) -> bool:
    try:
        changed = entry.stat(follow_symlinks=False).st_mtime
    except OSError:
        return False
    return time.time() - changed > _LEFT_BEHIND_SECONDS
