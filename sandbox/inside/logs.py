"""Sends a plugin's ``logging`` records to the parent, one JSON line each, on a pipe of their own.

Lines stay under PIPE_BUF, so that those of several processes never mix. ``print`` and stderr go
another way: those descriptors are the box's output pipe. Nothing is imported for a plugin that
does not log.
"""

from __future__ import annotations

import io
import json
import os
import sys

from . import protocol

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    import importlib.machinery
    import logging
    import types
    from typing import Any

WARNING = 30  # logging's own, which is not imported for this


def warn(message: str, order: dict[str, Any]) -> None:
    """Write a warning of our own to a call's log; ``order``: the one to load the plugin."""
    if "log" not in order or order["log_level"] > WARNING:
        return
    line = {"level": WARNING, "logger": "toolrunner", "message": message}
    try:
        os.write(order["log"], json.dumps(line).encode() + b"\n")
    except OSError:
        return  # what a plugin has done to its log is no fault of its call


def install(descriptor: int, level: int) -> None:
    """Have ``logging`` write to ``descriptor`` from its import on; make output line by line."""
    sys.meta_path.insert(0, LoggingFinder(descriptor, level))
    # New ones: Python's own were made for what the descriptors were when it started.
    sys.stdout = text_stream(1)
    sys.stderr = text_stream(2)


def text_stream(descriptor: int) -> io.TextIOWrapper:
    """Return a line-buffered stream that can write any string."""
    return open(
        descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )


class LoggingFinder:
    """Finds ``logging`` as usual, and configures it once it has been loaded."""

    def __init__(self, descriptor: int, level: int) -> None:
        self._descriptor = descriptor
        self._level = level

    def find_spec(
        self, name: str, _path: object = None, _target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of ``logging`` with a loader that also configures it."""
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, None)
            if spec is not None and spec.loader is not None:
                self._load = spec.loader.exec_module
                spec.loader.exec_module = self._load_and_configure  # type: ignore[method-assign]  # of this one instance
                return spec
        return None

    def _load_and_configure(self, module: types.ModuleType) -> None:
        self._load(module)
        self._configure(module)

    def _configure(self, module: types.ModuleType) -> None:
        descriptor = self._descriptor

        class LineHandler(module.Handler):  # type: ignore[name-defined, misc]  # logging is not imported here
            def emit(self, record: logging.LogRecord) -> None:
                os.write(descriptor, line_of(record, module))

        module.root.addHandler(LineHandler())
        module.root.setLevel(self._level)


def line_of(record: logging.LogRecord, module: types.ModuleType) -> bytes:
    """Return a record as one bounded JSON line; one that cannot be shown is shown as that."""
    try:
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + module.Formatter().formatException(record.exc_info)
    except Exception as error:  # noqa: BLE001 - a plugin's objects format themselves
        message = f"<a log record that cannot be shown: {type(error).__name__}>"
    name = str(record.name)[:100]
    data = b""
    for cap in (3000, 300):  # 300 characters fit whatever they are
        line = {"level": record.levelno, "logger": name, "message": message[:cap]}
        data = json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        if len(data) <= protocol.LOG_LINE_CAP:
            break
    return data
