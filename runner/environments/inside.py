"""Runs uv in the box that an environment is made in: its source is sent there as a plugin's is.

It imports nothing of ours. What it starts may be hostile, and so nothing that it says is believed
but as data.
"""

from __future__ import annotations

import collections
import os
import subprocess
import tempfile
from typing import Any

_MOST_LINES = 400


def run(payload: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ANN401 - the worker's
    """Run ``command`` and return its status, its output, and the end of its errors.

    Each line of its errors is passed on as progress.
    """
    for folder in payload["folders"]:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - as everything in a box
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - what the runner has named
            payload["command"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **payload["environment"]},
            cwd=payload["cwd"],
        )
        assert process.stderr is not None
        last: collections.deque[str] = collections.deque(maxlen=_MOST_LINES)
        with process.stderr as errors:
            for line in errors:
                text = line.decode("utf-8", "replace").rstrip()
                last.append(text)
                if text:
                    context.progress(0.0, text[:200])
        status = process.wait()
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    return {"status": status, "output": text, "errors": "\n".join(last)}
