"""Blobs in a bucket, through ``obstore``: imported by who has one, and by nobody else.

Each request has its time, so nobody waits for long where nobody answers. Large things go in pieces,
each a request of its own, and are never in memory as a whole; what is fetched for a run lies in a
file without a name, which ends with its process however that ends.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from toolrunner.runner.errors import ErrorType, GovernedError
from toolrunner.runner.jobs.blob_places import BucketPlace, endpoint_of
from toolrunner.runner.jobs.blobs import Blob, BlobReader
from toolrunner.runner.jobs.s3_errors import BeyondEndError, missing, told
from toolrunner.sandbox.input_files import ChangedError, InputFile, copy

if TYPE_CHECKING:
    from obstore.store import S3Config

_CONNECT_SECONDS, _REQUEST_SECONDS, _PROBE_SECONDS = 3, 20, 4
# A bucket may take minutes to put the pieces of a large blob together.
_LARGE_SECONDS = 300
_RETRIES, _RETRY_SECONDS = 2, 10
# What is in memory of a large thing, for each that is sent or fetched: so many pieces at once.
_PIECE_BYTES, _PIECES_AT_ONCE = 8 << 20, 2
# What is fetched with the first look at a blob: the list of artifacts is within it.
_FIRST_BYTES = 64 << 10
# Where several servers share a bucket, each looks for what nobody knows; a list costs money.
_SWEEP_SECONDS = 900.0
_PAGE = 1000


class S3Blobs:
    """Blobs below a prefix of a bucket; see ``Blobs`` for what each method does."""

    sweep_seconds = _SWEEP_SECONDS

    def __init__(
        self, place: BucketPlace, spool: Path, environment: Mapping[str, str] = os.environ
    ) -> None:
        """``spool``: a folder of this host, for files on their way. They have no names there.

        Raises ValueError for what the ``environment`` says of the endpoint.
        """
        self._spool = spool
        self.where = str(place)
        endpoint = endpoint_of(place, environment)
        self._told_of = f"{self.where} at {endpoint}" if endpoint else self.where
        try:
            self._store = _opened(place, endpoint, _REQUEST_SECONDS, _RETRIES)
            self._large = _opened(place, endpoint, _LARGE_SECONDS, _RETRIES)
            # Who asks how it stands waits for an answer himself, and asks again soon.
            self._probed = _opened(place, endpoint, _PROBE_SECONDS, retries=0)
        except BaseError:
            message = f"{self._told_of} is no place to keep blobs in: look at the AWS_ variables"
            raise ValueError(message) from None

    def make(self) -> None:
        self.check()

    def check(self) -> None:
        # A GET: its answer alone tells a bucket that is not there from a blob that is not.
        with suppress(FileNotFoundError), self._explained("nothing"):
            obstore.get(self._probed, "nothing")

    def put(self, name: str, *parts: bytes) -> None:
        if sum(map(len, parts)) <= _PIECE_BYTES:
            with self._explained(name):
                obstore.put(self._store, name, b"".join(parts), use_multipart=False)
        else:
            self._put_pieces(name, _pieces(parts))

    def get(self, name: str) -> bytes:
        blob = _S3Reader(self, name, _PIECE_BYTES)
        return blob.read(0, blob.size_bytes)

    def open(self, name: str) -> BlobReader:
        return _S3Reader(self, name, _FIRST_BYTES)

    def delete(self, name: str) -> None:
        self._delete([name])

    def put_group(self, name: str, files: Sequence[InputFile]) -> list[str]:
        digests = []
        for number, file in enumerate(files):
            with self._unnamed() as spooled:
                try:
                    copy(file, spooled.fileno(), lambda: False)
                except ChangedError as error:
                    raise GovernedError(ErrorType.VALIDATION_ERROR, str(error)) from None
                spooled.seek(0)
                digests.append(hashlib.file_digest(spooled, "sha256").hexdigest())
                size = spooled.seek(0, os.SEEK_END)
                spooled.seek(0)
                target = f"{name}/{number}"
                if size <= _PIECE_BYTES:
                    self.put(target, spooled.read())
                else:
                    self._put_pieces(target, iter(lambda: spooled.read(_PIECE_BYTES), b""))
        return digests

    def open_group(self, name: str, count: int) -> list[Path | BinaryIO]:
        sizes = {blob: size for blob, _, size in self._list(name)}
        if not sizes:
            return []
        files: list[BinaryIO] = []
        try:
            for number in range(count):
                blob = f"{name}/{number}"
                spooled = self._unnamed()
                files.append(spooled)
                self._fetch(blob, sizes.get(blob), spooled)
        except BaseException:
            for file in files:
                file.close()
            raise
        return [*files]

    def group_bytes(self, name: str) -> int:
        return sum(size for _, _, size in self._list(name))

    def delete_group(self, name: str) -> None:
        self._delete([blob for blob, _, _ in self._list(name)])

    def listed(self) -> Iterator[Blob]:
        groups: dict[str, float] = {}
        for name, changed, size in self._list(None):
            kind, _, rest = name.partition("/")
            first, _, number = rest.partition("/")
            if number:
                group = f"{kind}/{first}"
                groups[group] = max(changed, groups.get(group, changed))
            elif rest:
                yield Blob(name, changed, size)
        for name, changed in groups.items():
            yield Blob(name, changed, 0, is_group=True)

    def _get(self, name: str, offset: int, size: int) -> tuple[bytes, int]:
        """Return a piece of a blob, and how large all of it is."""
        try:
            with self._explained(name):
                found = obstore.get(self._store, name, options={"range": (offset, offset + size)})
                return found.bytes().to_bytes(), found.meta["size"]
        except BeyondEndError as beyond:
            return b"", beyond.size_bytes

    def _fetch(self, name: str, size: int | None, target: BinaryIO) -> None:
        if size is None:
            raise missing(name, self._told_of)
        target.writelines(
            self._get(name, at, _PIECE_BYTES)[0] for at in range(0, size, _PIECE_BYTES)
        )
        target.flush()
        if target.tell() != size:
            message = "what was fetched is not all of it"
            raise OSError(errno.EIO, message, f"{self._told_of}: {name}")

    def _put_pieces(self, name: str, pieces: Iterator[bytes | memoryview]) -> None:
        with self._explained(name):
            obstore.put(
                self._large,
                name,
                pieces,
                use_multipart=True,
                chunk_size=_PIECE_BYTES,
                max_concurrency=_PIECES_AT_ONCE,
            )

    def _delete(self, names: Sequence[str]) -> None:
        if names:
            with self._explained(names[0]):
                obstore.delete(self._store, names)

    def _list(self, name: str | None) -> Iterator[tuple[str, float, int]]:
        with self._explained(name or ""):
            for page in obstore.list(self._store, name, chunk_size=_PAGE):
                for one in page:
                    yield one["path"], one["last_modified"].timestamp(), one["size"]

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Say what to do where a request fails: nothing but requests belongs in here."""
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            raise told(error, name, self._told_of) from None

    def _unnamed(self) -> io.BufferedRandom:
        return tempfile.TemporaryFile(dir=self._spool)


def _opened(place: BucketPlace, endpoint: str, seconds: float, retries: int) -> S3Store:
    """Return a bucket to be asked; what ``place`` does not say, it reads from AWS's variables."""
    options: S3Config = {}
    if place.region:
        options["region"] = place.region
    if endpoint:
        options["endpoint"] = endpoint
    return S3Store(
        place.bucket,
        prefix=place.prefix or None,
        config=options,
        client_options={
            "allow_http": endpoint.startswith("http:"),
            "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
            "timeout": timedelta(seconds=seconds),
        },
        retry_config={"max_retries": retries, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
    )


class _S3Reader:
    """A blob that is fetched as it is read: what comes after what was read, in larger pieces."""

    def __init__(self, blobs: S3Blobs, name: str, size: int) -> None:
        """Fetch the first ``size`` bytes."""
        self._blobs = blobs
        self._name = name
        self._begin = 0
        self._held, self.size_bytes = blobs._get(name, 0, size)
        self._ahead = size

    def read(self, offset: int, size: int) -> bytes:
        size = min(size, self.size_bytes - offset)
        parts = []
        while size > 0:
            part = self._piece(offset, size)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)

    def _piece(self, offset: int, size: int) -> bytes:
        end = self._begin + len(self._held)
        if not self._begin <= offset < end:
            follows = offset == end
            self._ahead = min(2 * self._ahead, _PIECE_BYTES) if follows else 0
            wanted = min(max(size, self._ahead), _PIECE_BYTES)
            self._held, _ = self._blobs._get(self._name, offset, wanted)
            self._begin = offset
        at = offset - self._begin
        return self._held[at : at + size]

    def close(self) -> None:
        self._held = b""


def _pieces(parts: Sequence[bytes]) -> Iterator[memoryview]:
    for part in parts:
        view = memoryview(part)
        for offset in range(0, len(view), _PIECE_BYTES):
            yield view[offset : offset + _PIECE_BYTES]
