"""Plugins as tools over standard input and output: for an agent's host on the user's own machine.

Called by the command. One client, who is the user; its end, or the end of input, ends all calls.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from mcp import types
from mcp.server.session import ServerSession
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged

from toolrunner.api.mcp.calls import Wanted, made
from toolrunner.api.mcp.folders import Folders
from toolrunner.api.mcp.serving import Context, server_of
from toolrunner.api.mcp.wire import Messages, Output, as_file, taken_streams
from toolrunner.plugins.discovery import DiscoveryError
from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.call import Call
from toolrunner.runner.registry.plugin_changes import plugin_changes
from toolrunner.runner.services.wiring import analysis_of
from toolrunner.runner.settings.settings import Settings, SettingsError
from toolrunner.runner.threads import CallThreads
from toolrunner.runner.tool_runner import ToolRunner

_LOG = logging.getLogger("toolrunner.mcp")


class LocalDoor:
    """The one user, who may call every plugin that can run here."""

    def __init__(self, tool_runner: ToolRunner, threads: CallThreads, folders: Folders) -> None:
        """``threads`` are those in which calls wait."""
        self._tool_runner = tool_runner
        self._analysis = analysis_of(tool_runner)
        self._threads = threads
        self._folders = folders
        # Of a client that has begun with a handshake: who hears of changes without asking.
        self.session: ServerSession | None = None

    @property
    def folders(self) -> Folders | None:
        """Those that the user has named."""
        return self._folders

    async def manifests(self, context: Context) -> Mapping[str, Manifest]:
        """Return all plugins that can be called."""
        self.session = context.session
        return await asyncio.to_thread(self._tool_runner.registry.manifests)

    async def refused(self, context: Context, tool: str) -> None:
        """Nobody else is to know."""

    def call_of(self, _context: Context) -> Call:
        """Return the handle of a new call."""
        call = Call()
        call.door = "mcp"
        return call

    async def answered(self, _context: Context, wanted: Wanted, call: Call) -> types.CallToolResult:
        """Make a call in a thread of its own."""
        work = partial(made, self._analysis, wanted, call)
        return (await self._threads.run(work, call.cancel)).result


def serve(
    tool_runner: ToolRunner, load: Callable[[], Settings], folders: Folders, version: str
) -> None:
    """Serve until the end of input or SIGTERM; raises KeyboardInterrupt after Ctrl-C.

    ``load`` reads the settings anew, on SIGHUP.
    """
    with taken_streams() as (given, taken):
        asyncio.run(_serve(tool_runner, load, folders, version, given, taken))


async def _serve(
    tool_runner: ToolRunner,
    load: Callable[[], Settings],
    folders: Folders,
    version: str,
    given: int,
    taken: int,
) -> None:
    threads = CallThreads(tool_runner.most_calls)
    door = LocalDoor(tool_runner, threads, folders)
    bus = InMemorySubscriptionBus()
    server = server_of(door, version, ListenHandler(bus))
    output = Output(taken)
    messages = Messages(given, output)
    loop = asyncio.get_running_loop()

    async def protocol() -> None:
        async with stdio_server(as_file(messages), as_file(output)) as (read, write):
            await server.run(read, write, server.create_initialization_options())

    async def reload() -> None:
        if await asyncio.to_thread(_reloaded, tool_runner, load):
            await bus.publish(ToolsListChanged())
            if door.session is not None and not _listens(door.session):
                await door.session.send_tool_list_changed()

    serving = asyncio.ensure_future(protocol())
    leaving = asyncio.ensure_future(output.gone())
    reloads: set[asyncio.Future[None]] = set()

    def begin_reload() -> None:
        task = asyncio.ensure_future(reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGTERM, serving.cancel)
    loop.add_signal_handler(signal.SIGHUP, begin_reload)
    try:
        await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (serving, leaving, *reloads):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        threads.close()


def _listens(session: ServerSession) -> bool:
    """Tell whether a client's version of the protocol has it ask for news."""
    return session.protocol_version not in types.version.HANDSHAKE_PROTOCOL_VERSIONS


def _reloaded(tool_runner: ToolRunner, load: Callable[[], Settings]) -> bool:
    """Read settings and plugins anew; tell whether there are other tools now."""
    before = tool_runner.registry.seen()
    try:
        tool_runner.reload(load())
    except (DiscoveryError, SettingsError, OSError) as error:
        _LOG.error("plugins stay as they were: %s", error)
        return False
    different = plugin_changes(before, tool_runner.registry.seen())
    for change in different:
        _LOG.info("plugins: %s", change)
    return bool(different)
