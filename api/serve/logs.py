"""One log for the supervisor and its workers: the formats, the handler, and the way to it.

The supervisor makes the log, and a ``WorkerLog`` before it forks each worker. Records cross as
pickles, between processes of ours only: nothing of a box ever holds a descriptor of it.
"""

from __future__ import annotations

import json
import logging
import os
import select
from datetime import UTC, datetime
from typing import Any

from multiprocessing_logging import (  # type: ignore[import-untyped]  # it has no types
    MultiProcessingHandler,
)

from toolrunner.runner.errors import harmless
from toolrunner.sandbox.shortage import NoThreadError

PATIENCE_MS = 500  # for a reader that stands still
IDENTITIES = ("request_id", "traceparent", "call_id", "plugin")
_CALLS = ("request_id", "call_id")


class _Formatter(logging.Formatter):
    def traceback(self, record: logging.LogRecord) -> str:
        """Return the record's traceback, and leave it on the record: only text can be sent."""
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        return record.exc_text or ""


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _identity(record: logging.LogRecord, name: str) -> str:
    return str(getattr(record, name, "") or "")


class TextFormatter(_Formatter):
    """Lines for people; a record is one line, and its traceback those that follow, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text without control characters; no id is in it twice."""
        message = record.getMessage()
        # A call that a request waits for has the request's id, and the message may have it too.
        ids = {_identity(record, name): None for name in _CALLS if _identity(record, name)}
        about = [one for one in ids if one not in message]
        if plugin := _identity(record, "plugin"):
            about.append(plugin)
        shown = f" [{' '.join(about)}]" if about else ""
        # Names in it are callers' and plugins': none of them begins a line of its own.
        said = f"{shown} {message}".replace("\n", "\\n")
        lines = [f"{_time(record)} {record.levelname} {record.name}{said}"]
        lines += [f"    {line}" for line in self.traceback(record).splitlines()]
        return "\n".join(harmless(line) for line in lines)


class JsonFormatter(_Formatter):
    """JSON lines: one object a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        document: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": harmless(record.getMessage()),
            "pid": record.process,
        }
        document.update(
            {name: harmless(value) for name in IDENTITIES if (value := _identity(record, name))}
        )
        if traceback := self.traceback(record):
            document["traceback"] = harmless(traceback)
        return json.dumps(document)


class DescriptorHandler(logging.Handler):
    """Writes each record at once to a descriptor.

    Without a buffer there is no lock of one that a fork could copy while a thread holds it. A
    reader that stands still holds up nobody: what it does not take is dropped and counted.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._rest = b""  # of a line that was taken in part
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a reader that left is no reason to end."""
        try:
            if not self._can_go_on():
                self._dropped += 1
                return
            self._write((self.format(record) + "\n").encode("utf-8", "backslashreplace"))
        except OSError:
            return
        except Exception:  # noqa: BLE001 - as all handlers do: a bad record must not end a request
            self.handleError(record)

    def _can_go_on(self) -> bool:
        """Whether the reader takes lines, and has taken what it was behind with."""
        if not self._rest and not self._dropped:
            return True
        if self._rest and not self._write(self._rest, patience_ms=0):
            return False
        if not self._dropped:
            return True
        words = f"{self._dropped} lines were lost here: nobody took them\n"
        if not self._poll.poll(0):
            return False
        self._dropped = 0
        return self._write(words.encode("ascii"))

    def _write(self, left: bytes, *, patience_ms: int | None = None) -> bool:
        """Write a line; whether all of it was taken. What is left of it comes first next time."""
        patience = PATIENCE_MS if patience_ms is None else patience_ms
        while left and self._poll.poll(patience):
            # So much never waits, once there is room at all (pipe(7)).
            left = left[os.write(self._descriptor, left[: select.PIPE_BUF]) :]
        self._rest = left
        return not left


def install(handler: logging.Handler, *, level: int = logging.INFO) -> None:
    """Make ``handler`` the only one of this process, for all loggers."""
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # All that the command has made quiet for whoever reads along, failed calls among them.
    ours = [name for name in root.manager.loggerDict if name.partition(".")[0] == "toolrunner"]
    # What it warns of, clients can cause at will; it is told by the refusal, in sums.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    for name in (*ours, "uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


class _Passing(logging.Handler):
    """Hands records on by ``handle``: several receivers write to one handler, one at a time."""

    def __init__(self, real: logging.Handler) -> None:
        super().__init__(real.level)
        self.setFormatter(real.formatter)
        self.filters = list(real.filters)
        self._real = real

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        self._real.handle(record)


class WorkerLog:
    """The way of one worker's records to the supervisor's handler.

    The library has no names for what this does, so some of its private ones are used.

    Each worker has a queue of its own: one that is killed while it holds the queue's lock, or in
    the middle of a record, silences nobody else, nor the one that takes its place.
    """

    def __init__(self, real: logging.Handler, name: str) -> None:
        """Make it before the fork; in the supervisor a thread begins to receive."""
        self._handler = MultiProcessingHandler(name, sub_handler=_Passing(real))
        self._queue: Any = self._handler.queue

    def entered(self, level: int) -> None:
        """Send all of this process's records this way. To be called in the worker.

        Raises NoThreadError.
        """
        self._queue._reader.close()  # else a full pipe outlives the supervisor
        # Nobody reads any more once the supervisor is gone; the worker is about to end then.
        self._queue._ignore_epipe = True
        # The thread that sends them is there before the first one: then there may be none left,
        # and the queue would never try again.
        try:
            with self._queue._notempty:
                self._queue._start_thread()
        except RuntimeError as error:
            raise NoThreadError from error
        install(self._handler, level=level)

    def left(self) -> None:
        """Keep no way to another worker's queue. To be called in a worker that is not its own."""
        self._queue._reader.close()

    def forked(self) -> None:
        """Give up the supervisor's end for writing, so that the worker's death is the end."""
        self._queue._writer.close()

    def close(self) -> None:
        """Take in what the dead worker has sent, and end the thread."""
        # At the end of the pipe the thread ends by itself; only then may the flag be set, for
        # with it the thread would look for an empty pipe rather than for its end.
        self._handler._receive_thread.join(5)
        self._handler.close()
