"""FastAPI in front of a ``ProcessPoolExecutor`` that is used again and again: isolates nothing.

A program, started by ``reused.py`` with the number of processes, to be measured beside
``toolrunner serve``: the same request and answer. The work is the module ``pool_work``.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import multiprocessing
import signal
import socket
import sys
from concurrent.futures import ProcessPoolExecutor

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

ANNOUNCED = "listening on http://"


class Body(BaseModel):
    """A request."""

    image: str
    mime_type: str


def app_of(pool: ProcessPoolExecutor) -> FastAPI:
    """Return an application that has a pool do the work."""
    app = FastAPI()
    work = importlib.import_module("pool_work").run

    @app.post("/v1/analyze")
    async def analyze(body: Body) -> dict[str, object]:
        payload = {"image": base64.b64decode(body.image), "mime_type": body.mime_type}
        return {"result": await asyncio.get_running_loop().run_in_executor(pool, work, payload)}

    return app


def main() -> None:
    """Serve until SIGTERM."""
    # uvicorn raises it again when it has ended, and the pool is to be ended as well.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with ProcessPoolExecutor(int(sys.argv[1]), multiprocessing.get_context("spawn")) as pool:
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        host, port = listener.getsockname()
        print(f"{ANNOUNCED}{host}:{port}", file=sys.stderr, flush=True)
        config = uvicorn.Config(app_of(pool), log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
