"""A supervisor whose workers log more than anybody reads; a program that a test starts and kills.

With nobody reading, a worker stands in the middle of a record with its queue's lock held.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys

from toolrunner.api.serve.child import WorkerContext
from toolrunner.api.serve.logs import DescriptorHandler, TextFormatter, install
from toolrunner.api.serve.supervisor import Supervisor

RECORDS = 100
RECORD_BYTES = 20_000


def write(context: WorkerContext) -> None:
    """Log, and wait for the end."""
    context.ready()
    for number in range(RECORDS):
        logging.getLogger("noise").info("%d of %d %s", number, os.getpid(), "x" * RECORD_BYTES)
    signal.pause()


def fail(context: WorkerContext) -> None:
    """End before being ready."""
    message = f"worker {context.number} has nothing to serve"
    raise OSError(message)


def main(run_worker: str) -> int:
    """Run one worker."""
    handler = DescriptorHandler(2)
    handler.setFormatter(TextFormatter())
    install(handler)
    return Supervisor(
        socket.create_server(("127.0.0.1", 0)),
        {"write": write, "fail": fail}[run_worker],
        workers=1,
        drain_seconds=1,
        handler=handler,
        on_ready=lambda: None,
        on_dead=lambda pid: logging.getLogger("noise").info("cleared after %d", pid),
    ).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
