"""Sends a plugin's ``logging`` records to the parent, one JSON line each, on a pipe of their own.

Lines stay under PIPE_BUF, so that those of several processes never mix. ``print`` and stderr go
another way: those descriptors are the box's output pipe.
"""

import io
import json
import logging
import os
import sys

from . import protocol


class LineHandler(logging.Handler):
    """Writes each record as one bounded JSON line to a descriptor."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; a record that cannot be shown is shown as that."""
        try:
            message = record.getMessage()
            if record.exc_info:
                message += "\n" + logging.Formatter().formatException(record.exc_info)
        except Exception as error:  # noqa: BLE001 - a plugin's objects format themselves
            message = f"<a log record that cannot be shown: {type(error).__name__}>"
        name = str(record.name)[:100]
        for cap in (3000, 300):  # 300 characters fit whatever they are
            line = {"level": record.levelno, "logger": name, "message": message[:cap]}
            data = json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            if len(data) <= protocol.LOG_LINE_CAP:
                break
        os.write(self._descriptor, data)


def install(descriptor: int, level: int) -> None:
    """Route the root logger to the parent; make standard output line by line."""
    root = logging.getLogger()
    root.handlers[:] = [LineHandler(descriptor)]
    root.setLevel(level)
    # New ones: Python's own were made for what the descriptors were when it started.
    sys.stdout = text_stream(1)
    sys.stderr = text_stream(2)


def text_stream(descriptor: int) -> io.TextIOWrapper:
    """Return a line-buffered stream that can write any string."""
    return open(
        descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
