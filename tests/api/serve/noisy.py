"""A supervisor whose workers log more than anybody reads; a program that a test starts and kills.

With nobody reading, a worker stands in the middle of a record with its queue's lock held.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from toolrunner.api.serve.child import WorkerContext
from toolrunner.api.serve.logs import DescriptorHandler, TextFormatter, install
from toolrunner.api.serve.supervisor import Supervisor

RECORDS = 100
RECORD_BYTES = 20_000
HUNG_SECONDS = 1.5


def write(context: WorkerContext) -> None:
    """Log, and wait for the end."""
    context.ready()
    for number in range(RECORDS):
        logging.getLogger("noise").info("%d of %d %s", number, os.getpid(), "x" * RECORD_BYTES)
    signal.pause()


async def _beat(context: WorkerContext, way: str) -> None:
    context.ready()
    for _ in range(20):
        context.lives()
        await asyncio.sleep(0.02)
    logging.getLogger("noise").info("worker %d has beaten", os.getpid())
    while way == "asleep":
        signal.pause()
    while way == "busy":
        pass
    while True:
        context.lives()
        await asyncio.sleep(0.02)


def hang(context: WorkerContext, way: Path) -> None:
    """Say that it lives, and then not, in one of several ways; the next one lives on."""
    said = way.read_text()
    way.write_text("")
    asyncio.run(_beat(context, said))


def fail(context: WorkerContext) -> None:
    """End before being ready."""
    message = f"worker {context.number} has nothing to serve"
    raise OSError(message)


def falter(context: WorkerContext, trouble: Path) -> None:
    """Serve, or fail with what a file says: of OSError what is in it, and else by a bug."""
    if trouble.exists():
        words = trouble.read_text()
        raise OSError(words) if words else ZeroDivisionError
    context.ready()
    signal.pause()


def cleared(pid: int, _status: int | None) -> str:
    """Say that a worker is dead, and that nothing was lost with it."""
    logging.getLogger("noise").info("cleared after %d", pid)
    return "nothing was lost"


def main(run_worker: str, trouble: str = "") -> int:
    """Run one worker."""
    handler = DescriptorHandler(2)
    handler.setFormatter(TextFormatter())
    install(handler)
    kinds: dict[str, Callable[[WorkerContext], None]] = {
        "write": write,
        "fail": fail,
        "falter": partial(falter, trouble=Path(trouble)),
        "hang": partial(hang, way=Path(trouble)),
    }
    return Supervisor(
        socket.create_server(("127.0.0.1", 0)),
        kinds[run_worker],
        workers=1,
        drain_seconds=1,
        handler=handler,
        on_ready=lambda: None,
        on_dead=cleared,
        hung_seconds=HUNG_SECONDS,
    ).run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
