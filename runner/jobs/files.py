"""Payloads, results and artifacts of jobs, each in a file of its own beside the store.

A file is whole or absent: it is written under another name, synced and renamed. The store decides
which files are wanted; it never keeps large things in its rows.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from toolrunner.runner.artifacts import ArtifactInfo
from toolrunner.runner.jobs.artifacts import (
    KeptArtifact,
    encode_artifacts,
    open_artifact,
    read_infos,
)
from toolrunner.runner.jobs.payloads import copy_file, decode_payload, files_apart, parsed
from toolrunner.runner.payloads.json_writing import dumps
from toolrunner.sandbox.artifacts import Artifact

_UNNAMED = ".part"
_STRAY_SECONDS = 3600.0


class JobFiles:
    """The files of one state folder."""

    def __init__(self, folder: Path) -> None:
        """Make the folders below ``folder``, readable by their owner alone."""
        self._payloads = folder / "payloads"
        self._results = folder / "results"
        self._artifacts = folder / "artifacts"
        for path in (self._payloads, self._results, self._artifacts):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write_files(self, job_id: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the files of a payload, if it has any; return it with what tells of each instead.

        The payload itself comes last: without it, they are strays. Raises GovernedError for what
        no plugin would take.
        """
        files = files_apart(payload)
        if not files:
            return dict(payload)
        folder = self._files(job_id)
        folder.mkdir(mode=0o700)
        kept = []
        for number, file in enumerate(files):
            digest = copy_file(file, folder / str(number))
            kept.append({"name": file.name, "mime_type": file.mime_type, "sha256": digest})
        _sync(folder)
        return {**payload, "files": kept}

    def write_payload(self, job_id: str, data: bytes) -> None:
        """Keep what a job is run with."""
        _write(self._payloads / job_id, data)

    def read_payload(self, job_id: str) -> dict[str, Any]:
        """Return what a job is run with."""
        payload = decode_payload((self._payloads / job_id).read_bytes())
        folder = self._files(job_id)
        if folder.is_dir():
            payload["files"] = [
                {"name": one["name"], "mime_type": one["mime_type"], "path": folder / str(number)}
                for number, one in enumerate(payload["files"])
            ]
        return payload

    def write_result(
        self,
        job_id: str,
        attempt: int,
        result: dict[str, Any],
        artifacts: Sequence[Artifact] = (),
    ) -> int:
        """Keep what an attempt has brought, all of it or nothing; return its size in bytes."""
        data = dumps(result)
        try:
            if artifacts:  # first: a result that is there has all that belongs to it
                _write(self._artifact(job_id, attempt), *encode_artifacts(artifacts))
            _write(self._result(job_id, attempt), data)
        except OSError:
            self.drop_result(job_id, attempt)
            raise
        return len(data) + sum(len(one.data) for one in artifacts)

    def read_result(self, job_id: str, attempt: int) -> dict[str, Any] | None:
        """Return what an attempt has brought, ``None`` when it is kept no longer."""
        with suppress(FileNotFoundError):
            return parsed(self._result(job_id, attempt).read_bytes())
        return None

    def read_artifacts(self, job_id: str, attempt: int) -> list[ArtifactInfo]:
        """Return what artifacts an attempt has brought and are kept."""
        with suppress(FileNotFoundError):
            return read_infos(self._artifact(job_id, attempt))
        return []

    def open_artifact(self, job_id: str, attempt: int, name: str) -> KeptArtifact | None:
        """Return one of them to be read; ``None`` when there is none of that name."""
        with suppress(FileNotFoundError):
            return open_artifact(self._artifact(job_id, attempt), name)
        return None

    def drop_payload(self, job_id: str) -> None:
        """Delete a payload and its files, if they are there."""
        (self._payloads / job_id).unlink(missing_ok=True)
        _remove(self._files(job_id))

    def drop_result(self, job_id: str, attempt: int) -> None:
        """Delete a result and its artifacts, if they are there."""
        self._result(job_id, attempt).unlink(missing_ok=True)
        self._artifact(job_id, attempt).unlink(missing_ok=True)

    def drop_strays(self, is_known: Callable[[str], bool]) -> None:
        """Delete old files of jobs that nobody knows: of a server that died between two steps."""
        before = time.time() - _STRAY_SECONDS
        for path in self._all():
            with suppress(FileNotFoundError):
                known = path.suffix != _UNNAMED and is_known(path.name.partition(".")[0])
                if not known and path.stat().st_mtime < before:
                    _remove(path)

    def _all(self) -> Iterator[Path]:
        yield from self._payloads.iterdir()
        yield from self._results.iterdir()
        yield from self._artifacts.iterdir()

    def _files(self, job_id: str) -> Path:
        return self._payloads / f"{job_id}.files"

    def _result(self, job_id: str, attempt: int) -> Path:
        return self._results / f"{job_id}.{attempt}.json"

    def _artifact(self, job_id: str, attempt: int) -> Path:
        return self._artifacts / f"{job_id}.{attempt}"


def _write(path: Path, *parts: bytes) -> None:
    part = path.with_name(path.name + _UNNAMED)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        for data in parts:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except OSError:
        part.unlink(missing_ok=True)  # on a full disk, every byte counts
        raise
    finally:
        os.close(descriptor)
    part.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Have the names in a folder outlive a power cut."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove(path: Path) -> None:
    """Delete a file, or a folder of ours, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
