"""Shuts the sending half of the reply channel down and goes to sleep."""

import os
import socket
import time

from hostile import CHANNEL, LONG


def run(payload):
    socket.socket(fileno=os.dup(CHANNEL)).shutdown(socket.SHUT_WR)
    time.sleep(LONG)
