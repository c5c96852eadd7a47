"""The parent's ends of one call: its channel, its output, its log."""

from __future__ import annotations

import contextlib
import os
import socket


class CallEnds:
    """Made of a cell that serves one call, and of each call of a resident. Close it after use."""

    channel: socket.socket
    output: int
    log: int

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def _open(self, ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> list[int]:
        """Make the ends; return the other ones, in the order in which a cell takes them."""
        self.channel, channel = socket.socketpair()
        theirs.enter_context(channel)
        ours.enter_context(self.channel)
        self.output, output = _pipe(ours, theirs)
        self.log, log = _pipe(ours, theirs)
        return [channel.fileno(), output, log]

    def _let_go(self) -> None:
        """Close a fork's copies."""
        self._stack.close()
        self.output = self.log = -1

    def close(self) -> None:
        """Close the descriptors: what comes for them is nobody's."""
        self._stack.close()


def _pipe(ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[int, int]:
    """Return a pipe whose read end is ours, and does not block, and whose write end is theirs."""
    read, write = os.pipe()
    ours.callback(os.close, read)
    theirs.callback(os.close, write)
    os.set_blocking(read, False)
    return read, write
