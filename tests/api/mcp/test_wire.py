"""Lines of standard input, as the protocol's."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

import toolrunner.api.mcp.wire
from toolrunner.api.mcp.wire import Lines


@pytest.mark.parametrize("piece_bytes", [100, 1 << 16])
def test_no_more_is_held_of_a_line_than_it_may_have(
    monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    """Whether it comes in one piece or in many: one byte more tells that it is too long."""
    monkeypatch.setattr(toolrunner.api.mcp.wire, "_PIECE_BYTES", piece_bytes)
    sent = b"\n".join([b"a", b"x" * 1001, b"y" * 1000, b" ", b"z" * 90_000, b"b", b"no end"])
    read, write = os.pipe()

    def send() -> None:
        with os.fdopen(write, "wb") as file:
            file.write(sent)

    async def main() -> list[bytes]:
        return [line async for line in Lines(read, 1000)]

    writer = threading.Thread(target=send)
    writer.start()
    lines = asyncio.run(main())
    writer.join()
    os.close(read)
    assert lines == [b"a", b"x" * 1001, b"y" * 1000, b"z" * 1001, b"b"]
