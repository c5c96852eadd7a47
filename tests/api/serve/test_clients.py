"""The bounds of one client, in a real server: its settings reach every worker's connections."""

from __future__ import annotations

import contextlib
import socket

from tests.api.serve.conftest import Serve


def status_of(address: tuple[str, int], path: str) -> int:
    """Ask on a connection of its own; 0 for one that ends without an answer."""
    with socket.create_connection(address) as client:
        client.settimeout(120)
        data = b""
        with contextlib.suppress(ConnectionError):
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            while b"\r\n" not in data and (piece := client.recv(4096)):
                data += piece
    return int(data.split()[1]) if data else 0


def test_a_client_that_sits_on_connections_keeps_nobody_from_probes(serve: Serve) -> None:
    """Figures are a probe too; what was refused is told, in a sum, at the latest in the end."""
    server = serve("--workers", "1", TOOLRUNNER_CONNECTIONS_PER_CLIENT="4")
    host, _, port = server.ready().removeprefix("http://").partition(":")
    address = (host, int(port))
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(socket.create_connection(address)).sendall(b"GET /v1/pl")
        while status_of(address, "/v1/plugins") != 503:
            pass
        for path in ("/healthz", "/readyz", "/metrics"):
            assert status_of(address, path) == 200
    assert server.end() == 0
    assert "more requests of 127.0.0.1 in 60 s: Overloaded" in server.log
    assert server.log.count("too many connections of this address") <= 10
