"""How long another thread is kept waiting while a large JSON text is read, one figure a shape."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from toolrunner.runner.payloads.strict_json import JsonError, loads

SIZE = 16 << 20
# Just below the most values that are taken, where they would fit into SIZE.
SHAPES: dict[str, Callable[[], bytes]] = {
    "empty lists, too many": lambda: b"[" + b"[]," * (SIZE // 3) + b"[]]",
    "empty lists": lambda: b"[" + b"[]," * 249_000 + b"[]]",
    "lists, deep": lambda: b"[" + b",".join([b"[" * 98 + b"]" * 98] * 3380) + b"]",
    "objects": lambda: b"[" + b",".join([b'{"a":{}}'] * 142_000) + b"]",
    "numbers": lambda: b"[" + b",".join([b"0.123456789012345"] * 900_000) + b"]",
    "keys": lambda: b"{" + b",".join(b'"key%d":1' % i for i in range(990_000)) + b"}",
    "one string": lambda: b'{"a":"' + b",[{" * (SIZE // 3) + b'"}',
    "one string of escapes": lambda: b'{"a":"' + b"\\n" * (SIZE // 2) + b'"}',
    "one number": lambda: b"[" + b"1" * SIZE + b"]",
}


@contextmanager
def longest_stop() -> Iterator[list[float]]:
    """Have a second thread run meanwhile; the list's one figure is its longest stop in seconds.

    Counted in processor time of this process, so that other programs do not count.
    """
    longest, ready, done = [0.0], threading.Event(), threading.Event()

    def run() -> None:
        last = time.process_time()
        ready.set()
        while not done.is_set():
            time.sleep(0.0005)
            now = time.process_time()
            longest[0], last = max(longest[0], now - last), now

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield longest
    finally:
        done.set()
        thread.join()


def intake(_number: int, calls: int) -> dict[str, float]:
    """Return the longest stop in milliseconds for each shape, the least of so many readings."""
    figures = {}
    for name, shape in SHAPES.items():
        text = shape()
        stops = []
        for _ in range(calls):
            # Some shapes are refused, and that too takes time.
            with longest_stop() as longest, contextlib.suppress(JsonError):
                loads(text)
            stops.append(longest[0] * 1000)
        figures[name] = min(stops)
    return figures
