"""The ``mcp`` command: its options, and nothing else. Registered by ``app``."""

from __future__ import annotations

from typing import Annotated

import typer

from toolrunner.api.cli.exits import Exit, Refused
from toolrunner.api.cli.options import KeepFailures
from toolrunner.api.cli.session import Session
from toolrunner.api.mcp_extra import MISSING, is_installed
from toolrunner.api.version import version


def mcp(
    session: Session,
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--files",
            metavar="DIR",
            help="A folder whose files may be named by their paths, by whatever the host's model "
            "makes of all that it reads; may be repeated. Without it no file can be.",
            show_default=False,
        ),
    ] = None,
    keep_failures: KeepFailures = None,
) -> Exit:
    """Offer plugins as tools to an agent's host, over standard input and output.

    The protocol is MCP, the Model Context Protocol. A host starts this command by itself; what it
    is to be told is in docs/agents.md. SIGHUP reads settings and plugins anew.
    """
    session = session.keeping(keep_failures)
    if not is_installed():
        raise Refused(MISSING)
    from toolrunner.api.mcp import stdio  # noqa: PLC0415 - a second, for this alone
    from toolrunner.api.mcp.folders import Folders  # noqa: PLC0415 - same

    try:
        folders = Folders(files or ())
    except OSError as error:
        message = f"--files: {error.strerror}: {error.filename}; name a folder that is there"
        raise Refused(message) from None
    with session.tool_runner() as tool_runner:
        stdio.serve(tool_runner, session.load_settings, folders, version() or "0")
    return Exit.DONE
