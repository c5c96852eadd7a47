"""The work that every side of the benchmark does, and the plugins that do it.

JSON in, a sum, JSON out, with some libraries imported beforehand. ``IMPORTS`` says which.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

HEADER = """\
# /// script
# requires-python = ">=3.11"
# dependencies = {dependencies}
# [tool.toolrunner]
# name = "{name}"
# version = "1.0.0"
# description = "made for a measurement"
# input = "{input}"
# start = "{start}"
# environment = "{environment}"
# {limits}
# ///
"""
IMPORTS = {
    "stdlib": "",
    "numpy": "import numpy\nimport PIL.Image\n",
    "scipy": "import numpy\nimport PIL.Image\nimport scipy.signal\nimport scipy.stats\n",
}
SUMS = {
    "stdlib": "    return {'sum': sum(payload['values'])}\n",
    "numpy": "    return {'sum': int(numpy.sum(numpy.array(payload['values'])))}\n",
    "scipy": "    return {'sum': int(numpy.sum(numpy.array(payload['values'])))}\n",
}
PAYLOAD = {"values": list(range(100))}
ANSWER = {"sum": sum(PAYLOAD["values"])}

FLOOR_TAIL = """
import json
import os
import socket
import sys
import time

payload, wanted = (json.loads(text) for text in sys.argv[1:])
for _ in sys.stdin:
    started = time.perf_counter()
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        theirs.sendall(json.dumps(run(json.loads(theirs.recv(1 << 16)))).encode())
        os._exit(0)
    theirs.close()
    ours.sendall(json.dumps(payload).encode())
    answer = json.loads(ours.recv(1 << 16))
    os.wait4(pid, 0)
    ours.close()
    taken = time.perf_counter() - started
    if answer != wanted:
        sys.exit(f"a wrong answer: {answer!r}")
    print(taken, flush=True)
"""
# A process that serves call after call: a line of JSON and the bytes of an image, if there is one.
REUSED_TAIL = """
import json
import sys

for line in sys.stdin.buffer:
    request = json.loads(line)
    if request["bytes"]:
        request["payload"]["image"] = sys.stdin.buffer.read(request["bytes"])
    print(json.dumps(run(request["payload"])), flush=True)
"""
# The same work without another process: so many milliseconds of one call after the other.
IN_PROCESS_TAIL = """
import json
import pathlib
import sys
import time

payload, calls, seconds = json.loads(sys.argv[1])
if "image" in payload:
    payload["image"] = pathlib.Path(payload["image"]).read_bytes()
run(dict(payload))
taken, begun = [], time.perf_counter()
while len(taken) < calls and (len(taken) < 5 or time.perf_counter() - begun < seconds):
    started = time.perf_counter()
    run(dict(payload))
    taken.append((time.perf_counter() - started) * 1000)
print(json.dumps(taken))
"""
SUBPROCESS_TAIL = """
import json
import sys

json.dump(run(json.load(sys.stdin)), sys.stdout)
"""


def source(size: str) -> str:
    """Return the work as a module's source: its imports and ``run(payload)``."""
    return f"{IMPORTS[size]}\ndef run(payload):\n{SUMS[size]}"


def write_plugin(
    folder: Path,
    name: str,
    body: str,
    *,
    start: str = "auto",
    takes: str = "json",
    limits: str = "",
    dependencies: str = "[]",
    environment: str = "auto",
) -> Path:
    """Write a single-file plugin and return its path."""
    path = folder / f"{name}.py"
    limit_line = f"limits = {limits}" if limits else ""
    head = HEADER.format(
        name=name,
        input=takes,
        start=start,
        limits=limit_line,
        dependencies=dependencies,
        environment=environment,
    )
    path.write_text(head + textwrap.dedent(body), encoding="utf-8")
    return path
