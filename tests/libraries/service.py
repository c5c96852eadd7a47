"""A service in the environment of the libraries: runs plugins as it is told, an order a line.

Started by ``conftest.py`` with the Python of ``.venv-libraries``, which has no pytest, so it
imports nothing of ``tests``. Order and answer are JSON, a line each.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import libraries

from toolrunner import Call
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.probe import probe_host


def done(order: dict[str, Any], layers: Layers) -> dict[str, Any]:
    """Load a plugin, call it, and tell how it starts and what it answered."""
    plugin = libraries.runner_of(
        Path(order["path"]), order["start"], layers=layers, undone=order["undone"]
    )
    with plugin as (tool_runner, name):
        started = tool_runner.start(name)
        payload = libraries.payload_of(tool_runner.registry.plugin(name).manifest)
        answers = []
        for _ in range(order["calls"]):
            call = Call()
            result, error = tool_runner.run(name, payload, call=call)
            answers.append([call.isolation.mode, result if error is None else error])
    return {"mode": started.mode, "reasons": list(started.reasons), "answers": answers}


def main() -> None:
    """Answer until there are no more orders."""
    host = probe_host().layers
    for line in sys.stdin:
        order = json.loads(line)
        is_reduced = order["isolation"] == "no-namespaces"
        answer = done(order, host.without("namespaces") if is_reduced else host)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
