"""A grant of the network is none of the services that listen on a path."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from tests.conftest import MakeRunner, WritePlugin
from toolrunner.sandbox.layers import Layers

_BODY = """
import socket

def attempt(work):
    try:
        return work() or "done"
    except OSError:
        return "denied"

def connected(kind, path):
    with socket.socket(socket.AF_UNIX, kind) as one:
        one.connect(path)

def paired(kind, path):
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    with one, other:
        one.sendto(b"x", path) if kind == socket.SOCK_DGRAM else one.sendall(b"x")

def looped(port):
    with socket.create_connection(("127.0.0.1", port), 10):
        pass

def run(payload):
    stream, datagrams = payload["stream"], payload["datagrams"]
    return {
        "stream": attempt(lambda: connected(socket.SOCK_STREAM, stream)),
        "datagrams": attempt(lambda: connected(socket.SOCK_DGRAM, datagrams)),
        "pair to a path": attempt(lambda: paired(socket.SOCK_DGRAM, datagrams)),
        "stream pair": attempt(lambda: paired(socket.SOCK_STREAM, "")),
        "loopback": attempt(lambda: looped(payload["port"])),
    }
"""


def test_the_network_is_no_unix_socket_of_the_host(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers, open_folder: Path
) -> None:
    """As of a session's bus, which starts programs outside of any box; TCP and pairs go on."""
    plugin = write_plugin(_BODY, network="true")
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        datagrams = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        service = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stream.bind(str(open_folder / "stream"))
        stream.listen()
        datagrams.bind(str(open_folder / "datagrams"))
        for path in open_folder.iterdir():
            path.chmod(0o777)
        payload = {
            "stream": str(open_folder / "stream"),
            "datagrams": str(open_folder / "datagrams"),
            "port": service.getsockname()[1],
        }
        tool_runner = make_runner(plugin, layers=layers, allow_network=["sample"])
        result, error = tool_runner.run("sample", payload)
    assert error is None
    assert result == {
        "stream": "denied", "datagrams": "denied", "pair to a path": "denied",
        "stream pair": "done", "loopback": "done",
    }  # fmt: skip
