"""What the way through HTTP adds to a warm call, and how much of the runner's rate is left.

``toolrunner serve`` runs as a process of its own, as an operator starts it; the client is a plain
one with a connection that it keeps. Both sides run the same plugin on the same payload.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import work
from benchmarks.growth import quantile, runner_of, succeeded

BODY = "def run(payload):\n    return {'size': len(payload['image'])}\n"
ANNOUNCED = "listening on http://"
MIME = "image/jpeg"  # of every image here; nobody looks at what it really is
_WARMING = 6
Figures = dict[str, Any]
Call = Callable[[], None]


@contextmanager
def plugin_file(body: str) -> Iterator[Path]:
    """Give the file of an image plugin called ``work``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield work.write_plugin(folder, "work", body, takes="image")


@contextmanager
def served(plugin: Path, workers: int) -> Iterator[str]:
    """Give the address of a server with a plugin, which may be resident if it wants to."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--plugins", str(plugin), "--state", str(Path(folder) / "state")]
        program = Path(sys.executable).parent / "toolrunner"
        command = [str(program), *options, "serve", "--port", "0", "--workers", str(workers)]
        with announced(command, {"TOOLRUNNER_ALLOW_RESIDENT": "*"}) as address:
            yield address


@contextmanager
def announced(command: list[str], environment: Mapping[str, str]) -> Iterator[str]:
    """Give the address that a program says it listens on, and end the program by SIGTERM."""
    environment = {**os.environ, **environment}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        for line in server.stderr:
            if ANNOUNCED in line:
                address = line.partition(ANNOUNCED)[2].split()[0]
                break
        else:
            sys.exit("the server did not start")
        rest = threading.Thread(target=server.stderr.read)
        rest.start()
        try:
            yield address
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
            rest.join()


def client_of(address: str, plugin: str, image: bytes, wanted: object) -> Call:
    """Return a function that has the server analyze an image, over one connection."""
    connection = http.client.HTTPConnection(address)
    text = base64.b64encode(image).decode()
    body = json.dumps({"plugin": plugin, "image": text, "mime_type": MIME})
    headers = {"Content-Type": "application/json"}

    def call() -> None:
        connection.request("POST", "/v1/analyze", body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != http.HTTPStatus.OK or answer["result"] != wanted:
            sys.exit(f"a wrong answer: {response.status} {answer!r}")

    return call


def warm(client: Callable[[], Call]) -> None:
    """Call by enough connections that every worker has some."""
    for call in [client() for _ in range(_WARMING)]:
        for _ in range(2):
            call()


def latencies(call: Call, calls: int) -> list[float]:
    """Return the seconds of one call after the other, without the first ones."""
    taken = []
    for number in range(calls + 3):
        started = time.perf_counter()
        call()
        if number >= 3:
            taken.append(time.perf_counter() - started)
    return taken


def rate(make_call: Callable[[], Call], threads: int, calls: int) -> float:
    """Return how many calls a second so many clients get answered."""
    gate = threading.Barrier(threads + 1)
    each = max(1, calls // threads)

    def client() -> None:
        call = make_call()
        call()
        gate.wait()
        for _ in range(each):
            call()

    clients = [threading.Thread(target=client) for _ in range(threads)]
    for one in clients:
        one.start()
    gate.wait()
    started = time.perf_counter()
    for one in clients:
        one.join()
    return threads * each / (time.perf_counter() - started)


def door(size: int, calls: int) -> Figures:
    """A call through HTTP beside one of ``ToolRunner.run``, with an image of ``size`` bytes."""
    image = b"x" * size
    # The same on both sides: ToolRunner takes base64 as well.
    request = {"image": base64.b64encode(image).decode(), "mime_type": MIME}
    with runner_of(BODY, takes="image") as tool_runner:

        def run() -> None:
            succeeded(tool_runner.run("work", request))

        direct = latencies(run, calls)
        direct_rate = rate(lambda: run, 4, calls)
    with plugin_file(BODY) as path, served(path, workers=2) as address:

        def client() -> Call:
            return client_of(address, "work", image, {"size": size})

        warm(client)
        through = latencies(client(), calls)
        through_rate = rate(client, 4, calls)
    return {
        "run_p50": quantile(direct, 50),
        "http_p50": quantile(through, 50),
        "run_per_second": direct_rate,
        "http_per_second": through_rate,
    }
