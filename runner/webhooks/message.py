"""What is posted when a job has ended, and the headers that prove who has sent it.

``webhook-id`` is the same for each attempt, so that a receiver knows what it has had; the time and
the signatures are those of the attempt.
"""

from __future__ import annotations

import base64
import json
import secrets as randomness
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from standardwebhooks.webhooks import Webhook

from toolrunner.runner.errors import timestamp

Shown = Callable[[Mapping[str, Any]], dict[str, Any]]

PREFIX = "whsec_"
# The specification's bounds.
_LEAST_BYTES, _MOST_BYTES = 24, 64
_NEW_BYTES = 32


@dataclass(frozen=True, slots=True)
class Message:
    """That one job has ended; ``error`` is the half of its envelope that callers may see."""

    id: str
    job: str
    plugin: str
    status: str
    error: dict[str, Any] | None
    ended_at: datetime

    def body(self, shown: Shown) -> bytes:
        """Return the JSON document that is signed and sent, with what of the error is ``shown``."""
        document = {
            "type": f"job.{self.status.lower()}",
            "timestamp": timestamp(self.ended_at),
            "data": {
                "id": self.job,
                "plugin": self.plugin,
                "status": self.status,
                "error": None if self.error is None else shown(self.error),
            },
        }
        return json.dumps(document, separators=(",", ":")).encode()


def headers(message_id: str, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers of an attempt that is made now; a signature for each secret."""
    now = datetime.now(UTC)
    text = body.decode()
    signatures = [Webhook(secret).sign(message_id, now, text) for secret in secrets]
    return {
        "Content-Type": "application/json",
        "User-Agent": "toolrunner",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def new_secret() -> str:
    """Return a secret that nobody can guess."""
    return PREFIX + base64.b64encode(randomness.token_bytes(_NEW_BYTES)).decode()


def check_secret(text: str) -> str:
    """Return a secret that can be used; raises ValueError, with what is wrong."""
    try:
        size = len(base64.b64decode(text.removeprefix(PREFIX), validate=True))
    except ValueError:
        size = 0
    if not text.startswith(PREFIX) or not _LEAST_BYTES <= size <= _MOST_BYTES:
        message = f"a secret is {PREFIX} and {_LEAST_BYTES} to {_MOST_BYTES} bytes in base64"
        raise ValueError(message)
    return text
