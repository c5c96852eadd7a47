"""Which request, call and plugin a log record is about, wherever in the request's work it is made.

The middleware and the routes set it; threads that work for a request get a copy. The log's
formatters read it by way of ``ContextFilter``.
"""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar

REQUEST_ID: ContextVar[str] = ContextVar("toolrunner_request_id", default="")
TRACEPARENT: ContextVar[str] = ContextVar("toolrunner_traceparent", default="")
PLUGIN: ContextVar[str] = ContextVar("toolrunner_plugin", default="")

# Version, trace id, parent id and flags: https://www.w3.org/TR/trace-context/
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


def traceparent_of(header: str | None) -> str:
    """Return a well-formed ``traceparent`` as it is, and nothing for what is none."""
    return header if header is not None and _TRACEPARENT.fullmatch(header) else ""


class ContextFilter(logging.Filter):
    """Puts ``request_id``, ``traceparent``, ``call_id`` and ``plugin`` on every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Fill in what the record does not say by itself; let every record pass."""
        values = {
            "request_id": REQUEST_ID.get(),
            "traceparent": TRACEPARENT.get(),
            "call_id": "",
            "plugin": PLUGIN.get(),
        }
        for name, value in values.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True
