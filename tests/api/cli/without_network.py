"""Calls, lists, shows and serves a plugin where no other host can be reached.

Run by a test in a network namespace of its own, whose only device is the loopback. Prints what
came of it as one JSON document. Arguments: the plugin's path and the state folder.
"""

from __future__ import annotations

import fcntl
import json
import re
import socket
import struct
import subprocess
import sys
from typing import Any

import httpx

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
COMMAND = (
    sys.executable, "-P", "-m", "toolrunner", "--plugins", sys.argv[1], "--state", sys.argv[2],
)  # fmt: skip


def bring_up_loopback() -> None:
    """Make 127.0.0.1 reachable, as on every host (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = fcntl.ioctl(any_socket, SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
        _, flags = struct.unpack("16sh14x", asked)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def document(*arguments: str) -> Any:
    """Return what a command prints with ``--json``."""
    done = subprocess.run([*COMMAND, "--json", *arguments], stdout=subprocess.PIPE, check=False)
    return json.loads(done.stdout)


def served() -> dict[str, Any]:
    """Return what a server answers."""
    server = subprocess.Popen([*COMMAND, "serve", "--port", "0"], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        for line in server.stderr:
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            if found:
                break
        else:
            sys.exit("the server does not say where it listens")
        with httpx.Client(base_url=found[0], timeout=120) as client:
            listed = client.get("/v1/plugins/sample").json()
            call = {"plugin": "sample", "payload": {}}
            return {"state": listed["state"], "call": client.post("/v1/analyze", json=call).json()}
    finally:
        server.terminate()
        server.communicate()


def main() -> None:
    """Do it all."""
    reachable = [name for _, name in socket.if_nameindex()]
    bring_up_loopback()
    listed = document("plugins", "list")
    results = {
        "devices": reachable,
        "list": [one["state"] for one in listed if one["name"] == "sample"],
        "show": document("plugins", "show", "sample")["state"],
        "run": document("run", "sample", "--payload", "{}"),
        "serve": served(),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
