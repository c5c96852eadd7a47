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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import libraries, work
from benchmarks.growth import quantile, runner_on, succeeded

ECHO = "def run(payload):\n    return payload\n"
BODY = "def run(payload):\n    return {'size': len(payload['image'])}\n"
IMAGE_BYTES = 100_000

ANNOUNCED = "listening on http://"
MIME = "image/jpeg"  # of every image here; nobody looks at what it really is
_WARMING = 6
Figures = dict[str, Any]
Call = Callable[[], None]


@contextmanager
def plugin_file(body: str, *, takes: str) -> Iterator[Path]:
    """Give the file of a plugin called ``work``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield work.write_plugin(folder, "work", body, takes=takes)


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


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a plugin: of ``ToolRunner.run``, and over HTTP."""

    plugin: str
    payload: Mapping[str, Any]
    body: bytes
    media_type: str

    @classmethod
    def json(cls, plugin: str, payload: Mapping[str, Any]) -> Asked:
        """Ask in JSON, an image in base64."""
        fields: dict[str, object] = {"payload": payload}
        if "image" in payload:
            fields = {**payload, "image": base64.b64encode(payload["image"]).decode()}
        body = json.dumps({"plugin": plugin, **fields}).encode()
        return cls(plugin, payload, body, "application/json")

    @classmethod
    def form(cls, plugin: str, image: bytes) -> Asked:
        """Ask by a form with an image as it is."""
        boundary = "part-of-the-benchmark"
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="plugin"\r\n\r\n{plugin}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="image.jpg"'
            f"\r\nContent-Type: {MIME}\r\n\r\n"
        )
        body = head.encode() + image + f"\r\n--{boundary}--\r\n".encode()
        payload = {"image": image, "mime_type": MIME}
        return cls(plugin, payload, body, f"multipart/form-data; boundary={boundary}")


def client_of(address: str, asked: Asked, wanted: object) -> Call:
    """Return a function that asks a server, over one connection."""
    connection = http.client.HTTPConnection(address)
    headers = {"Content-Type": asked.media_type}

    def call() -> None:
        connection.request("POST", "/v1/analyze", asked.body, headers)
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


@contextmanager
def asked_of(kind: str) -> Iterator[tuple[Path, Asked]]:
    """Give a plugin's file and what is asked of it."""
    if kind == "echo":
        with plugin_file(ECHO, takes="json") as path:
            yield path, Asked.json("work", {"text": "x" * 100})
    elif kind == "bytes":
        with plugin_file(BODY, takes="image") as path:
            yield path, Asked.form("work", b"x" * IMAGE_BYTES)
    else:
        path = libraries.ROOT / "plugins/bundled/image_info.py"
        yield path, Asked.form("image-info", libraries.photo(IMAGE_BYTES))


def door(kind: str, clients: str, calls: int) -> Figures:
    """Calls through HTTP beside those of ``ToolRunner.run``, one by one and by many at once."""
    many = int(clients)
    with ExitStack() as stack:
        path, asked = stack.enter_context(asked_of(kind))
        tool_runner = stack.enter_context(runner_on(path, asked.plugin))
        address = stack.enter_context(served(path, workers=2))
        wanted = succeeded(tool_runner.run(asked.plugin, asked.payload))

        def run() -> None:
            succeeded(tool_runner.run(asked.plugin, asked.payload))

        def client() -> Call:
            return client_of(address, asked, wanted)

        warm(client)
        return {
            "run_p50": quantile(latencies(run, calls), 50),
            "http_p50": quantile(latencies(client(), calls), 50),
            "run_per_second": rate(lambda: run, many, 4 * calls),
            "http_per_second": rate(client, many, 4 * calls),
        }
