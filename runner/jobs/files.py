"""Payloads, results and artifacts of jobs, each a blob of its own beside the store.

A blob is whole or absent. The store decides which are wanted; it never keeps large things in its
rows. Where they lie is for ``Blobs`` to know: in the state folder, if nobody says otherwise.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolrunner.runner.artifacts import ArtifactInfo
from toolrunner.runner.jobs.artifacts import (
    KeptArtifact,
    artifact_of,
    encode_artifacts,
    read_infos,
)
from toolrunner.runner.jobs.blobs import AwayError, Blob, BlobReader, Blobs, RefusedError
from toolrunner.runner.jobs.folder_blobs import UNNAMED, FolderBlobs
from toolrunner.runner.jobs.payloads import decode_payload, files_apart, parsed
from toolrunner.runner.jobs.store import NotKeptError, StoreError, UnreadableError
from toolrunner.runner.payloads.json_writing import dumps
from toolrunner.sandbox.artifacts import Artifact

KINDS = ("payloads", "results", "artifacts")
_STRAY_SECONDS = 3600.0
# Says whose blobs lie in a place. Two stores in one would sweep each other's away.
_OWNER = "owner"


@dataclass(frozen=True, slots=True)
class Owner:
    """A store whose blobs lie elsewhere: what tells it from all others, and whether they do yet.

    ``first`` is true in its block if no blobs of the store lie anywhere; after it, they do.
    """

    name: Callable[[], str]
    first: Callable[[], AbstractContextManager[bool]]


class JobFiles:
    """The blobs of one store of jobs. Thread-safe."""

    def __init__(self, place: Path | Blobs, *, owner: Owner | None = None) -> None:
        """Keep them in a folder of this store alone, or in the place of an ``owner``.

        A place that has another's name in it is not touched, nor one without a name if blobs of the
        store lie somewhere already. ``make`` makes what is needed there.
        """
        self.blobs: Blobs = FolderBlobs(place, KINDS) if isinstance(place, Path) else place
        self.where = self.blobs.where
        self._owner = owner
        self._is_ours = owner is None
        self._next_sweep = 0.0

    def make(self) -> None:
        """Make what is needed; raise OSError if the place is of no use, or another store's."""
        self.blobs.make()
        self._insist(again=True)

    def check(self) -> None:
        """Raise OSError if nothing can be kept now."""
        self.blobs.check()
        self._insist()

    def probe(self) -> None:
        """Raise AwayError at once, where each step would only find that out after a while."""
        if self.blobs.sweep_seconds:
            self.blobs.check()

    def _insist(self, *, again: bool = False) -> None:
        """Raise StoreError where the blobs are of another store of jobs."""
        if self._owner is None or (self._is_ours and not again):
            return
        mine = self._owner.name().encode()
        found = self._owned_by()
        with self._owner.first() as is_first:
            if found is None and is_first:
                self.blobs.put(_OWNER, mine)
            found = found or self._owned_by()  # two may have come at once
            self._is_ours = found == mine
            if found is None:
                message = (
                    f"{self.where} has no file `{_OWNER}`, but blobs of this job store lie in a"
                    " place that has one: see that it is mounted, and that all servers and workers"
                    " name the same one in `blobs`; whoever moves blobs takes that file along"
                )
                raise StoreError(errno.ENOENT, message)
            if not self._is_ours:
                message = (
                    f"{self.where} is another job store's: name another place in `blobs`; or, if"
                    f" that store is no more, delete {_OWNER} there"
                )
                raise StoreError(errno.EEXIST, message)

    def _owned_by(self) -> bytes | None:
        try:
            return self.blobs.get(_OWNER)
        except FileNotFoundError:
            return None

    def write_files(self, job_id: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the files of a payload, if it has any; return it with what tells of each instead.

        The payload itself comes last: without it, they are strays. Raises GovernedError for what
        no plugin would take.
        """
        files = files_apart(payload)
        if not files:
            return dict(payload)
        self._insist()
        digests = self.blobs.put_group(_files(job_id), files)
        kept = [
            {"name": file.name, "mime_type": file.mime_type, "sha256": digest}
            for file, digest in zip(files, digests, strict=True)
        ]
        return {**payload, "files": kept}

    def write_payload(self, job_id: str, data: bytes) -> None:
        """Keep what a job is run with."""
        self._insist()
        self.blobs.put(_payload(job_id), data)

    def read_payload(self, job_id: str) -> dict[str, Any]:
        """Return what a job is run with; ``payloads.let_go`` of it after the run."""
        payload = decode_payload(self.blobs.get(_payload(job_id)))
        listed = payload.get("files")
        if isinstance(listed, list) and listed:
            files = self.blobs.open_group(_files(job_id), len(listed))
            if files:
                payload["files"] = [
                    {
                        "name": one["name"],
                        "mime_type": one["mime_type"],
                        "path" if isinstance(file, Path) else "data": file,
                    }
                    for one, file in zip(listed, files, strict=True)
                ]
        return payload

    def payload_bytes(self, job_id: str) -> int | None:
        """Return what a payload takes with its files, ``None`` when it is not there."""
        try:
            with closing(self.blobs.open(_payload(job_id))) as blob:
                size = blob.size_bytes
        except StoreError:  # whether it is there, nobody knows
            raise
        except OSError:
            return None
        return size + self.files_bytes(job_id)

    def files_bytes(self, job_id: str) -> int:
        """Return what the files of a payload take that are kept apart from it."""
        return self.blobs.group_bytes(_files(job_id))

    def write_result(
        self,
        job_id: str,
        attempt: int,
        result: dict[str, Any],
        artifacts: Sequence[Artifact] = (),
    ) -> int:
        """Keep what an attempt has brought, all of it or nothing; return its size in bytes.

        Raises OSError: an AwayError where it may be kept later.
        """
        data = dumps(result)
        try:
            if artifacts:  # first: a result that is there has all that belongs to it
                self.blobs.put(_artifacts(job_id, attempt), *encode_artifacts(artifacts))
            self.blobs.put(_result(job_id, attempt), data)
        except AwayError:  # nothing can be deleted either
            raise
        except OSError:
            with suppress(OSError):
                self.drop_result(job_id, attempt)
            raise
        return len(data) + sum(len(one.data) for one in artifacts)

    def keep_result(
        self, job_id: str, attempt: int, result: dict[str, Any], artifacts: Sequence[Artifact]
    ) -> int:
        """Do what ``write_result`` does, for a job that ends with it.

        Raises AwayError where it can be kept later, and else NotKeptError.
        """
        try:
            return self.write_result(job_id, attempt, result, artifacts)
        except AwayError:
            raise
        except RefusedError as failed:
            raise NotKeptError(str(failed), remedy="mend that") from failed
        except OSError as failed:
            message = f"{self.where}: {failed.strerror}"
            raise NotKeptError(message) from failed

    def kept_payload(self, job_id: str) -> dict[str, Any]:
        """Do what ``read_payload`` does; raise UnreadableError for one that is lost or damaged."""
        try:
            return self.read_payload(job_id)
        except (FileNotFoundError, ValueError, KeyError, IndexError) as error:
            message = f"the payload of this job can be read no more: {type(error).__name__}"
            raise UnreadableError(message) from error

    def read_result(self, job_id: str, attempt: int) -> dict[str, Any] | None:
        """Return what an attempt has brought, ``None`` when it is kept no longer."""
        with suppress(FileNotFoundError):
            return parsed(self.blobs.get(_result(job_id, attempt)))
        return None

    def read_artifacts(self, job_id: str, attempt: int) -> list[ArtifactInfo]:
        """Return what artifacts an attempt has brought and are kept."""
        with suppress(FileNotFoundError), closing(self._open(job_id, attempt)) as blob:
            return read_infos(blob)
        return []

    def open_artifact(self, job_id: str, attempt: int, name: str) -> KeptArtifact | None:
        """Return one of them to be read; ``None`` when there is none of that name."""
        with suppress(FileNotFoundError), ExitStack() as stack:
            blob = stack.enter_context(closing(self._open(job_id, attempt)))
            kept = artifact_of(blob, name)
            if kept is not None:
                stack.pop_all()  # it is the artifact's to close
            return kept
        return None

    def _open(self, job_id: str, attempt: int) -> BlobReader:
        return self.blobs.open(_artifacts(job_id, attempt))

    def drop_payload(self, job_id: str) -> None:
        """Delete a payload and its files, if they are there."""
        self.blobs.delete(_payload(job_id))
        self.blobs.delete_group(_files(job_id))

    def drop_result(self, job_id: str, attempt: int) -> None:
        """Delete a result and its artifacts, if they are there."""
        self.blobs.delete(_result(job_id, attempt))
        self.blobs.delete(_artifacts(job_id, attempt))

    def drop_strays(self, is_known: Callable[[str], bool], *, since: float = 0.0) -> None:
        """Delete old blobs of jobs that nobody knows: of a server that died between two steps.

        Those from before ``since`` are another database's, and stay. Where a look costs something,
        this does not look each time.
        """
        now = time.time()
        if now < self._next_sweep:
            return
        self._insist()
        for blob in self.blobs.listed():
            if since <= blob.changed < now - _STRAY_SECONDS and not _is_known(blob, is_known):
                with suppress(FileNotFoundError):
                    (self.blobs.delete_group if blob.is_group else self.blobs.delete)(blob.name)
        self._next_sweep = now + self.blobs.sweep_seconds

    def count_strays(self, is_known: Callable[[str], bool], *, before: float) -> int:
        """Return how many blobs from before a moment are of jobs that nobody knows."""
        return sum(
            blob.changed < before and not _is_known(blob, is_known) for blob in self.blobs.listed()
        )


def _payload(job_id: str) -> str:
    return f"payloads/{job_id}"


def _files(job_id: str) -> str:
    return f"payloads/{job_id}.files"


def _result(job_id: str, attempt: int) -> str:
    return f"results/{job_id}.{attempt}.json"


def _artifacts(job_id: str, attempt: int) -> str:
    return f"artifacts/{job_id}.{attempt}"


def _is_known(blob: Blob, is_known: Callable[[str], bool]) -> bool:
    name = blob.name.partition("/")[2]
    return not name.endswith(UNNAMED) and is_known(name.partition(".")[0])
