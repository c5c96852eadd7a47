"""Calls that fail while their bundles have no room: run in a mount namespace of its own.

    python -P full_disk.py PLUGIN FOLDER    prints what happened as JSON

FOLDER becomes a disk of a megabyte.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from toolrunner import PluginRegistry, ToolRunner
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.inside.syscalls import Kernel


def main(plugin: str, folder: Path) -> None:
    """Fail before, while and after the disk is full."""
    warnings: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warnings.append(record.getMessage())

    logging.getLogger("toolrunner.failures").addHandler(Keeping())
    # Not by mount(8), which an ordinary user's capability is not enough for.
    Kernel().mount("none", str(folder), "tmpfs", 0, "size=1m,mode=0700")
    kept = folder / "failures"
    found: dict[str, Any] = {"errors": [], "kept": []}
    with tempfile.TemporaryDirectory() as state:
        settings = Settings.load(state=state, keep_failures=kept)
        registry = PluginRegistry.discover([plugin], settings=settings)
        with ToolRunner(registry, settings=settings) as tool_runner:

            def fail() -> None:
                _, envelope = tool_runner.run("sample", {"text": "x" * 100_000})
                assert envelope is not None
                found["errors"].append(envelope["error"]["type"])
                found["kept"].append(len(list(kept.iterdir())))

            fail()
            filler = folder / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                for _ in range(1000):  # a megabyte is full before
                    file.write(bytes(4096))
            fail()
            fail()
            found["warnings"] = list(warnings)
            filler.unlink()
            fail()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
