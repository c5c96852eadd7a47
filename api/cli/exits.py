"""Exit statuses, and who is to blame for what ends a command.

``commands`` maps envelopes here, ``cli`` exceptions. Nothing here prints.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from toolrunner.plugins.discovery import DiscoveryError
from toolrunner.runner.errors import Blame, GovernedError, harmless
from toolrunner.runner.settings.settings import SettingsError
from toolrunner.sandbox.box import SetupError


class Exit(IntEnum):
    """What the command's exit status says; of several the highest counts."""

    DONE = 0
    PLUGIN = 1
    CALLER = 2
    HOST = 3


class Refused(Exception):  # noqa: N818 - named for what it means
    """The command cannot do what was asked for; the message says what to do instead."""


class Interrupted(Exception):  # noqa: N818 - named for what it means
    """Ctrl-C, in a form that the command-line library passes on."""


class ReaderLeft(Exception):  # noqa: N818 - named for what it means
    """Nobody reads our output any more, in a form that the command-line library passes on."""


_BLAMED = {Blame.CALLER: Exit.CALLER, Blame.HOST: Exit.HOST, Blame.PLUGIN: Exit.PLUGIN}


def exit_of(envelope: Mapping[str, Any] | None) -> Exit:
    """Return the exit status for how one call ended; ``None`` means that it succeeded."""
    if envelope is None:
        return Exit.DONE
    return _BLAMED[Blame(envelope["error"]["details"]["blame"])]


def judged(error: Exception) -> tuple[Exit, str]:
    """Return the exit status and the words for an exception that ended a command."""
    words = harmless(str(error)) or type(error).__name__
    match error:
        case Refused() | DiscoveryError() | SettingsError():
            return Exit.CALLER, words
        case GovernedError():
            return _BLAMED[error.error_type.blame], words
        case SetupError():
            return Exit.HOST, f"the sandbox cannot be set up: {words}; try `toolrunner doctor`"
        case sqlite3.Error():
            return Exit.HOST, f"the state folder cannot be used: {words}"
        case OSError():
            return Exit.HOST, f"this host refused: {words}"
        case _:
            bug = f"{type(error).__name__}: {words}"
            return Exit.HOST, f"a bug of toolrunner's own: {bug}; --debug shows where"
