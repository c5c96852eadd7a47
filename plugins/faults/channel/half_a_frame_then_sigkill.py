"""Sends half a frame and kills itself."""

import os
import signal

from hostile import frame, send


def run(payload):
    send(frame(b"R", b"{}" * 50)[:20])
    os.kill(os.getpid(), signal.SIGKILL)
