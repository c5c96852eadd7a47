"""One worker of a server that can start no thread once it is ready.

python threadless.py STATE: writes its address to stdout when it serves; ends as SIGTERM says.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from toolrunner.api.metrics.tables import Tables
from toolrunner.api.serve.body import Body
from toolrunner.api.serve.child import WorkerContext, run_child
from toolrunner.api.serve.worker import Worker
from toolrunner.api.withdrawals import Wires
from toolrunner.runner.settings.settings import Settings


class Context(WorkerContext):
    """What a worker has of its supervisor, and a host that runs out as soon as it serves."""

    def ready(self) -> None:
        """Say so."""
        super().ready()
        threading.stack_size(1 << 47)  # all that a process can address: no room for a stack
        assert self.listener is not None
        host, port = self.listener.getsockname()
        print(f"http://{host}:{port}", flush=True)


def main(state: Path) -> None:
    """Serve."""
    settings = Settings.load(state=state)
    listener = socket.create_server(("127.0.0.1", 0))
    lifeline, _held = os.pipe()
    _heard, words = multiprocessing.Pipe(duplex=False)
    body = Body(settings, (), Tables(1), lambda: settings)
    worker = Worker(body, needs_keys=False, supervisor=os.getpid(), wires=Wires(1))
    context = Context(0, listener, lifeline, words)
    run_child(context, worker, lambda: None, 60.0, logging.NullHandler())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    main(Path(sys.argv[1]))
