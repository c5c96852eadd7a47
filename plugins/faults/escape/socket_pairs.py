"""Sends from sockets that need no connection to a socket of others."""

import os
import socket

from hostile import CHANNEL, tried


def run(payload):
    there = payload["datagram"]

    def pair(kind):
        first, _second = socket.socketpair(socket.AF_UNIX, kind)
        first.sendto(b"out", there)

    return tried(
        datagram=lambda: pair(socket.SOCK_DGRAM),
        packets=lambda: pair(socket.SOCK_SEQPACKET),
        stream=lambda: pair(socket.SOCK_STREAM),
        channel=lambda: socket.socket(fileno=os.dup(CHANNEL)).connect(there),
    )
