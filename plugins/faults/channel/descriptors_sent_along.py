"""Sends descriptors along with its reply."""

import os
import socket

from hostile import CHANNEL, frame


def run(payload):
    channel = socket.socket(fileno=os.dup(CHANNEL))
    socket.send_fds(channel, [frame(b"R")], [0, 1, 2] * 20)
    os._exit(0)
