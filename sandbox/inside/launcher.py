"""The launcher: makes the warden in the box's new namespaces, maps its users, and ends.

It is exec'd by the parent and stays outside. The warden is made with CLONE_PARENT and is so the
runner's own child: it dies with the runner's thread, and the runner sees when all is over.
"""

from __future__ import annotations

import json
import os
import socket
import sys

from . import cell, protocol, warden
from .namespaces import clone_flags, write_user_mapping
from .syscalls import CLONE_PARENT, Kernel, Rights, machine

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any


def main(descriptor: int) -> None:
    """Read the profile from the control channel and start the warden as it says."""
    control = socket.socket(fileno=descriptor)
    kernel = Kernel() if machine() else None
    if kernel is not None:
        kernel.die_with_parent()  # it may wait for long, and the channel's other end be copied
    message = control.recv(protocol.CONTROL_MESSAGE_CAP)
    if not message:
        return
    profile = json.loads(message)
    if profile["portable"] or kernel is None:
        from . import portable

        report(control, {"event": "warden", "pid": os.getpid()})
        portable.main(kernel or (Rights() if sys.platform == "linux" else None), profile, control)
    try:
        launch(kernel, profile, control)
    except OSError as error:
        report(control, {"event": "failed", **cell.failure(error)})
        os._exit(1)
    os._exit(0)  # nothing here needs an interpreter's way out


def launch(kernel: Kernel, profile: dict[str, Any], control: socket.socket) -> None:
    """Make the warden, and tell the parent its number before it can say anything itself."""
    mapped, say_mapped = os.pipe()
    pid = kernel.clone(CLONE_PARENT | clone_flags(profile["namespaces"]))
    if pid == 0:
        os.close(say_mapped)
        if not os.read(mapped, 1):
            os._exit(1)  # the launcher failed, and has said so
        os.close(mapped)
        warden.main(kernel, profile, control)
    if "user" in profile["namespaces"]:
        write_user_mapping(pid, profile["uid"])
    report(control, {"event": "warden", "pid": pid})
    os.write(say_mapped, b"m")


def report(control: socket.socket, event: dict[str, Any]) -> None:
    """Send one message to the parent."""
    control.send(json.dumps(event).encode() + b"\n")
