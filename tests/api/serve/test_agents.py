"""Tools for agents of a real server of several workers: none of them keeps anything of a client."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psutil
import pytest

from tests.api.mcp.agents import ERAS, OBEDIENT, Heard, Progress, begun, error_of, over_http, run
from tests.api.serve.conftest import Serve, Server
from tests.conftest import WritePlugin

HEADERS = {
    "Host": "localhost",
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
    "MCP-Protocol-Version": "2025-06-18",
}


class Connection:
    """One connection, which one worker has."""

    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("http://").partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=120)
        self._file = self._socket.makefile("rb")

    def send(self, document: dict[str, Any], **headers: str) -> None:
        """Send a message."""
        body = json.dumps(document).encode()
        given = {**HEADERS, **headers, "Content-Length": str(len(body))}
        lines = [f"{name}: {value}" for name, value in given.items()]
        self._socket.sendall("\r\n".join(["POST /mcp HTTP/1.1", *lines, "", ""]).encode() + body)

    def head(self) -> tuple[int, dict[str, str]]:
        """Return the status and the headers of an answer."""
        status = int(self._file.readline().split()[1])
        headers = {}
        while line := self._file.readline().decode().strip():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return status, headers

    def body(self, headers: dict[str, str]) -> bytes:
        """Return a body whose head has been read."""
        if "content-length" in headers:
            return self._file.read(int(headers["content-length"]))
        body = b""
        while size := int(self._file.readline(), 16):
            body += self._file.read(size)
            self._file.readline()
        self._file.readline()
        return body

    def touch(self) -> None:
        """Have some worker accept it."""
        self._socket.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert self.body(self.head()[1])

    def ask(self, document: dict[str, Any], **headers: str) -> tuple[int, dict[str, str]]:
        """Send a message, and read its answer to the end; return its head."""
        self.send(document, **headers)
        status, answered = self.head()
        self.body(answered)
        return status, answered

    def until(self, words: bytes) -> bytes:
        """Read an answer line by line, up to one that has these words; return what was read."""
        read = b""
        while words not in read:
            line = self._file.readline()
            assert line, read
            read += line
        return read

    def worker(self, server: Server) -> int:
        """Return the process that has this connection: it has answered on it before."""
        port = self._socket.getsockname()[1]
        for pid in server.workers():
            for one in psutil.Process(pid).net_connections("tcp"):
                if one.raddr[1:] == (port,):
                    return pid
        pytest.fail("no worker has the connection")

    def close(self) -> None:
        """Close it."""
        self._file.close()
        self._socket.close()


@contextmanager
def connected(server: Server, address: str, pid: int) -> Iterator[Connection]:
    """Yield a connection that a worker has: others are closed until one is its own."""
    while True:
        with closing(Connection(address)) as connection:
            connection.touch()
            if connection.worker(server) == pid:
                yield connection
                return


def call_of(number: int) -> dict[str, Any]:
    """Return a call that does not end by itself."""
    params = {"name": "sample", "arguments": {"wait": 1}, "_meta": {"progressToken": 1}}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def test_a_cancel_reaches_its_call_in_another_worker(
    serve: Serve, write_plugin: WritePlugin
) -> None:
    """A session is begun with one worker, its call is another's, and the first hears the cancel."""
    server = serve("--workers", "2", "--plugins", write_plugin(OBEDIENT))
    address = server.ready()
    server.family()
    one, other = server.workers()
    params = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    with connected(server, address, one) as first:
        begin = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        status, answered = first.ask(begin)
        assert status == 200
    session = {"Mcp-Session-Id": answered["mcp-session-id"]}
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
    with connected(server, address, other) as second:
        second.send(call_of(7), **session)
        assert second.head()[0] == 200
        assert b"notifications/progress" in second.until(b"waits")
        with connected(server, address, one) as third:
            # What another session says of a request with that number is not meant.
            assert third.ask(cancel, **{"Mcp-Session-Id": "another"})[0] == 202
            assert third.ask(cancel, **session)[0] == 202
        assert b"the call was cancelled" in second.until(b"Cancelled")
    assert server.end() == 0
    assert server.log.count("failed: Cancelled") == 1
    assert "Traceback" not in server.log


@pytest.mark.parametrize("mode", ERAS)
def test_a_client_has_all_workers(serve: Serve, write_plugin: WritePlugin, mode: str) -> None:
    """Lists, calls, hears of progress and of a reload, and is told when the server ends."""
    plugin = write_plugin(OBEDIENT)
    server = serve("--workers", "2", "--plugins", plugin, TOOLRUNNER_DRAIN_SECONDS="0.5")
    address = server.ready()
    server.family()
    heard = Heard()

    async def main() -> None:
        async with over_http(address, mode=mode, heard=heard) as client:
            for number in range(4):
                progress = Progress()
                given = {"n": number, "progress": [0.5]}
                result = await client.call_tool("sample", given, progress_callback=progress)
                assert result.structured_content == {"got": number}
                assert progress.told == [(0.5, 1.0, "so far")]
            if mode == "legacy":
                await reloaded()
            else:
                async with client.listen(tools_list_changed=True):
                    await reloaded()
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert str(tools["sample"].description).startswith("the ")
            call = await begun(client, {})
            server.process.send_signal(signal.SIGTERM)
            error = error_of(await call, "Cancelled")
            assert error["details"]["cancelled_by"] == "server"

    async def reloaded() -> None:
        text = plugin.read_text()
        # A client asks for its stream in the background: what changes before that is not told.
        for number in itertools.count():
            plugin.write_text(text.replace("made for a test", f"the {number}th"))
            server.process.send_signal(signal.SIGHUP)
            for _ in range(2):
                await asyncio.to_thread(server.wait_for, "plugins are loaded again")
            if "notifications/tools/list_changed" in heard.messages:
                return

    run(main)
    assert server.finish() == 0
    assert "Traceback" not in server.log
    assert server.survivors() == []
