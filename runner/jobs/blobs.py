"""What keeps the large things of jobs, by names of ours as ``payloads/0123``.

Another place can be used by having these methods. A group is several files under one name; it
counts together with what tells of it, which ``JobFiles`` writes last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from toolrunner.runner.jobs.store import StoreError
from toolrunner.sandbox.input_files import InputFile


class AwayError(StoreError):
    """The store of blobs does not answer, or not now: it can be asked again later."""


class RefusedError(StoreError):
    """The store of blobs answers, and will not: asking again mends nothing. Its words say what."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob or a group, as a list has it; ``changed`` is a time, the newest of a group.

    ``size_bytes`` of a group is not told, and 0.
    """

    name: str
    changed: float
    size_bytes: int
    is_group: bool = False


class BlobReader(Protocol):
    """A blob, open to be read in pieces, by one thread at a time. Close it."""

    size_bytes: int

    def read(self, offset: int, size: int) -> bytes:
        """Return so many bytes from an offset, or fewer; none beyond the end. Raises OSError."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Blobs(Protocol):
    """Blobs of one place. Thread-safe.

    What is not there is a FileNotFoundError. Everything else that fails is another OSError; over a
    network, an AwayError or a RefusedError.
    """

    # In words, for messages: a folder's path, a bucket's address.
    where: str
    # How often it is worth looking for what nobody knows.
    sweep_seconds: float

    def make(self) -> None:
        """Make what is needed there, if it can be made; raises OSError if it is of no use."""
        ...

    def check(self) -> None:
        """Raise OSError if nothing can be kept here now."""
        ...

    def put(self, name: str, *parts: bytes) -> None:
        """Keep a blob for good, in place of what was there: whole, or not at all."""
        ...

    def get(self, name: str) -> bytes:
        """Return all of a blob."""
        ...

    def open(self, name: str) -> BlobReader:
        """Return a blob to be read in pieces."""
        ...

    def delete(self, name: str) -> None:
        """Delete a blob, if it is there."""
        ...

    def put_group(self, name: str, files: Sequence[InputFile]) -> list[str]:
        """Keep files as a new group; return the SHA-256 of each.

        Raises GovernedError for a file that is not what it was when it was given.
        """
        ...

    def open_group(self, name: str, count: int) -> list[Path | BinaryIO]:
        """Return the files of a group for one run: where they lie, or open ones without a name.

        Who gets these closes them. None: there is no such group.
        """
        ...

    def group_bytes(self, name: str) -> int:
        """Return what the files of a group take together; 0 when there is none."""
        ...

    def delete_group(self, name: str) -> None:
        """Delete a group, if it is there."""
        ...

    def listed(self) -> Iterator[Blob]:
        """Yield every blob and group that has a ``/`` in its name, and what was never whole."""
        ...
