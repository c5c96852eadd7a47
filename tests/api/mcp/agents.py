"""An agent's host as tests have one: the official SDK's client, over both transports."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import psutil
from mcp import StdioServerParameters, types
from mcp.client.client import Client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from tests.api.conftest import COMMAND

# The newest version of the protocol, and the last one that begins with a handshake.
ERAS = ("auto", "legacy")
SECONDS = 120.0
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
T = TypeVar("T")

OBEDIENT = """
    import os
    import time

    def run(payload, context):
        for fraction in payload.get("progress", ()):
            context.progress(fraction, payload.get("message", "so far"))
        for name, mime_type, text in payload.get("artifacts", ()):
            context.artifact(name, text.encode("latin-1"), mime_type)
        if payload.get("prints"):
            print(payload["prints"], flush=True)
        if "fail" in payload:
            raise ValueError(payload["fail"])
        if "wait" in payload:
            context.progress(0.5, "waits")
            while True:
                time.sleep(0.01)
        if "large" in payload:
            return {"large": "x" * payload["large"]}
        return {"got": payload.get("n")}
"""


@dataclass
class Heard:
    """What a host was told without having asked."""

    messages: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, message: object) -> None:
        """Take note of it."""
        self.messages.append(str(getattr(message, "method", type(message).__name__)))
        self.news.set()

    async def until(self, method: str) -> None:
        """Wait until it has been told so."""
        while method not in self.messages:
            self.news.clear()
            await self.news.wait()


def command_in(folder: Path, environment: Mapping[str, str] | None = None) -> Path:
    """Write a command ``toolrunner`` as an installation has it; return where it is.

    ``environment``: what it has beside that of whoever starts it, who may hand on next to nothing.
    """
    folder.mkdir()
    command = folder / "toolrunner"
    given = (environment or {}).items()
    lines = [f"export {name}={shlex.quote(one)}" for name, one in given if name.isidentifier()]
    words = shlex.join(COMMAND)
    command.write_text("\n".join(["#!/bin/sh", *lines, f'exec {words} "$@"', ""]))
    command.chmod(0o755)
    return command


def busy_below(process: psutil.Process) -> list[psutil.Process]:
    """Return the processes that use a processor: those of a call that was not killed do."""
    return [one for one in process.children(recursive=True) if _is_busy(one)]


def _is_busy(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_RUNNING
    except psutil.NoSuchProcess:
        return False


@contextmanager
def raw(environment: dict[str, str], *options: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start ``toolrunner mcp``, to be spoken to in lines."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [*COMMAND, *map(str, options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        yield process
        process.kill()


def say(process: subprocess.Popen[bytes], *messages: dict[str, Any]) -> None:
    """Send messages."""
    assert process.stdin is not None
    for message in messages:
        process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[bytes]) -> Any:
    """Return the next message."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


@asynccontextmanager
async def over_stdio(
    environment: Mapping[str, str],
    *options: str | Path,
    mode: str = "auto",
    heard: Heard | None = None,
) -> AsyncIterator[Client]:
    """Start ``toolrunner mcp``, and yield a client of it."""
    program, *words = COMMAND
    given = [*words, *map(str, options)]
    server = StdioServerParameters(command=program, args=given, env=dict(environment))
    # By default what standard error was when the SDK was imported, which pytest may have closed.
    transport = stdio_client(server, errlog=sys.__stderr__ or sys.stderr)
    async with Client(transport, mode=mode, message_handler=heard) as client:
        yield client


@asynccontextmanager
async def over_http(
    address: str, *, mode: str = "auto", key: str = "", heard: Heard | None = None
) -> AsyncIterator[Client]:
    """Yield a client of a server."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with httpx2.AsyncClient(headers=headers, timeout=SECONDS) as http:
        transport = streamable_http_client(f"{address}/mcp", http_client=http)
        async with Client(transport, mode=mode, message_handler=heard) as client:
            yield client


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run what a test does with a client, in a loop of its own."""

    async def bounded() -> T:
        async with asyncio.timeout(SECONDS):
            return await main()

    return asyncio.run(bounded())


class Progress:
    """Hears of a call's progress; ``begun`` is set by the first word."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.told: list[tuple[float, float | None, str | None]] = []

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """Take note of it."""
        self.told.append((progress, total, message))
        self.begun.set()


def text_of(result: types.CallToolResult) -> str:
    """Return the first text of a result."""
    first = result.content[0]
    assert isinstance(first, types.TextContent)
    return first.text


def error_of(result: types.CallToolResult, kind: str) -> dict[str, Any]:
    """Assert that a result is an error of a type; return its document."""
    assert result.is_error
    assert result.structured_content is None
    document: dict[str, Any] = json.loads(text_of(result))
    assert document.keys() == {"type", "message", "details", "plugin", "timestamp"}
    assert document["type"] == kind, document
    assert "log_tail" not in document["details"]
    return document


async def begun(client: Client, arguments: dict[str, Any]) -> asyncio.Task[types.CallToolResult]:
    """Call the tool "sample", and return that call once the plugin runs."""
    progress = Progress()
    task = asyncio.create_task(
        client.call_tool("sample", {"wait": True, **arguments}, progress_callback=progress)
    )
    waiting = asyncio.create_task(progress.begun.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    assert progress.begun.is_set(), task.result()
    return task
