"""Frames on a call channel, the cell's side: the parent is believed, and waits for whole ones.

Runs beside hostile code, as all of the worker: nothing here protects anybody.
"""

from __future__ import annotations

import json
import os
import socket

from . import protocol

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_SMALL = 1 << 16


def send(channel: socket.socket, kind: bytes, body: object) -> None:
    """Send one frame; a body that is not bytes goes as JSON."""
    data = body if isinstance(body, bytes) else as_json(body)
    header = protocol.HEADER.pack(kind, len(data))
    if len(data) <= _SMALL:
        channel.sendall(header + data)  # in one piece, so that the reader wakes up once
    else:
        channel.sendall(header)
        channel.sendall(data)


def as_json(body: object) -> bytes:
    """Return a body as JSON text, whatever its strings hold."""
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace")


def receive(channel: socket.socket, wanted: bytes) -> tuple[dict[str, Any], bytes]:
    """Read one frame of the parent's: its JSON head and the raw bytes after it."""
    kind, length = protocol.HEADER.unpack(receive_exactly(channel, protocol.HEADER.size))
    if kind != wanted:
        message = f"expected a frame {wanted!r}, got {kind!r}"
        raise OSError(message)
    (head_length,) = protocol.HEAD_LENGTH.unpack(
        receive_exactly(channel, protocol.HEAD_LENGTH.size)
    )
    head = json.loads(receive_exactly(channel, head_length))
    rest = length - protocol.HEAD_LENGTH.size - head_length
    return head, receive_exactly(channel, rest)


def receive_exactly(channel: socket.socket, length: int) -> bytes:
    """Read ``length`` bytes; end the process when the parent is gone."""
    data = channel.recv(length, socket.MSG_WAITALL) if length else b""
    if len(data) == length:
        return data
    rest = bytearray(data)
    while len(rest) < length:
        more = channel.recv(length - len(rest))
        if not more:
            os._exit(0)
        rest += more
    return bytes(rest)


def receive_load(channel: socket.socket) -> tuple[dict[str, Any], bytes]:
    """Wait for the parent's word that this cell is in its place; return the load order."""
    return receive(channel, protocol.LOAD)


def send_blocks(
    channel: socket.socket, kind: bytes, head: bytes, size: int, blocks: Iterable[memoryview]
) -> None:
    """Send a frame with a JSON head and ``size`` raw bytes, as they come.

    A whole frame whatever happens: zeros stand for what does not come, so that what is sent
    next can be read.
    """
    length = protocol.HEAD_LENGTH.size + len(head) + size
    # More cannot be announced, and is far more than anybody takes.
    header = protocol.HEADER.pack(kind, min(length, protocol.MOST_ANNOUNCED))
    start = header + protocol.HEAD_LENGTH.pack(len(head)) + head
    left = size
    try:
        channel.sendall(start)
        for block in blocks:
            sent = 0
            while sent < len(block):
                more = channel.send(block[sent:])
                sent += more
                left -= more
    finally:
        while left > 0:
            left -= channel.send(bytes(min(left, _SMALL)))
