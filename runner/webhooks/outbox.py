"""What has to be posted, and to whom: what every store of it can do, and what it deals in.

The end of a job writes what is posted of it in the same step, whichever process ends it: neither is
there without the other. A message goes when it was taken, and stays for the operator when it was
given up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from toolrunner.runner.errors import ErrorType, build_error_envelope
from toolrunner.runner.webhooks.message import Message

# An attempt that nobody has reported the end of is made again after that: more than any lasts.
HELD_SECONDS = 60.0
MOST_WAITING = 100_000
MOST_FAILED = 1_000
_UNKNOWN = datetime.fromtimestamp(0, UTC)
TOO_MANY = "too many messages were waiting"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one address, in the attempt of that number."""

    seq: int
    url: str
    attempts: int
    message: Message
    reason: str | None = None
    failed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AddressStatus:
    """How one address stands.

    ``has_gone``: it wants nothing more. ``reason``: why it has not taken a message, the last time.
    """

    url: str
    has_gone: bool
    waiting: int
    failed: int
    reason: str | None


class Outbox(Protocol):
    """The messages of one store of jobs, for all its processes. Thread-safe.

    Each method raises an OSError while it cannot do it, which says what to do.
    """

    @property
    def tick_seconds(self) -> float:
        """After how long whoever posts looks without having been called."""
        ...

    def listen(self, heard: Callable[[], None]) -> None:
        """Call ``heard`` when there may be something to post, or an address is new or no more.

        Until the store is closed. It may neither wait nor raise.
        """
        ...

    def set_addresses(self, urls: Sequence[str]) -> None:
        """Post to these from now on; what waits for others is dropped."""
        ...

    def drop(self, url: str) -> None:
        """Post to an address no more, and forget what is kept for it."""
        ...

    def addresses(self) -> list[str]:
        """Return those that are posted to."""
        ...

    def take(self, url: str) -> Delivery | None:
        """Return the next message that is due there, for this process alone to post."""
        ...

    def rest(self, url: str, seconds: float) -> None:
        """Let no process take anything for an address for so long."""
        ...

    def taken(self, delivery: Delivery) -> None:
        """Forget a message: its receiver has it."""
        ...

    def put_off(self, delivery: Delivery, seconds: float, reason: str) -> None:
        """Post a message again, in so many seconds."""
        ...

    def give_back(self, delivery: Delivery) -> None:
        """Take an attempt as not made: this process had to end in the middle of it."""
        ...

    def give_up(self, delivery: Delivery, reason: str) -> None:
        """Post a message no more, and keep it for the operator."""
        ...

    def stop(self, url: str, reason: str) -> int:
        """Post nothing to an address any more; return how many messages that gives up."""
        ...

    def retry(self, url: str) -> int:
        """Post what waits there at once, and what was given up from the first attempt on.

        Return how many messages that are.
        """
        ...

    def clean(self, keep_seconds: float) -> int:
        """Bound what is kept; return how many messages were given up for being too many."""
        ...

    def statuses(self) -> list[AddressStatus]:
        """Return how each address stands."""
        ...

    def failed(self, limit: int) -> list[Delivery]:
        """Return the messages that were given up last, the newest first."""
        ...


class Row(Protocol):
    """What a database returns: values by the names of their columns."""

    def __getitem__(self, name: str, /) -> Any:  # noqa: ANN401 - as the column is
        """Return the value of a column."""
        ...


def delivery_of(row: Row) -> Delivery:
    """Return the message of a row, whichever database it is from.

    What cannot be read of it is told as that: it holds up no other message.
    """
    message = Message(
        row["id"],
        row["job"],
        row["plugin"],
        str(row["status"]),
        _error(row),
        _time(row["ended"]) or _UNKNOWN,
    )
    return Delivery(
        row["seq"], row["url"], row["attempts"], message, row["reason"], _time(row["failed"])
    )


def _error(row: Row) -> dict[str, Any] | None:
    if row["error"] is None:
        return None
    try:
        return dict(json.loads(row["error"]))
    except (ValueError, TypeError):
        words = f"the error that was to be told is damaged: GET /v1/jobs/{row['job']} has the job's"
        found = build_error_envelope(
            ErrorType.SANDBOX_ERROR, words, plugin=row["plugin"], call_id=row["job"]
        )
        return {**found["error"]}


def _time(seconds: float | None) -> datetime | None:
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        return _UNKNOWN


def status_of(row: Row) -> AddressStatus:
    """Return how an address stands, by its row."""
    return AddressStatus(
        row["url"], row["gone"] is not None, row["waiting"], row["failed"], row["reason"]
    )
