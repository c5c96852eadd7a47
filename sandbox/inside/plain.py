"""Runs a plugin once without any box, for a debugger: in its author's terminal, with his rights.

    launch.py plain FOLDER    ``api/cli/debugging.py`` has put there what to run, in order.json

Confines nothing, and so refuses to be root. The folder is the scratch, and goes at the end.
"""

from __future__ import annotations

import json
import os
import sys

from . import worker

TYPE_CHECKING = False  # as everywhere in this folder
if TYPE_CHECKING:
    from typing import Any

ORDER = "order.json"


def main(folder: str) -> None:
    """Load the plugin of an order, call it as ordered, and print its result."""
    import shutil

    try:
        if 0 in {os.getuid(), os.geteuid()}:
            message = "no plugin is run without a box as root"
            raise PermissionError(message)
        with open(f"{folder}/{ORDER}", encoding="utf-8") as file:
            order: dict[str, Any] = json.load(file)
        os.unlink(f"{folder}/{ORDER}")
        os.chdir(folder)
        os.environ["TMPDIR"] = folder
        print(run(order).decode("utf-8", "backslashreplace"))  # noqa: T201 - its whole purpose
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)


def run(order: dict[str, Any]) -> bytes:
    """Run the plugin of an order; return its result. What it raises passes."""
    source = b""
    if not order["entry"].rpartition(":")[0]:
        with open(order["path"], "rb") as file:
            source = file.read()
    plugin = worker.load_plugin(order, source)
    worker.warm_up(plugin, "")
    sys.stdout.flush()
    return worker.rehearse_call(plugin, order["call"])
