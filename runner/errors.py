"""Error types, whom each one blames, and the envelope in which a failed call is reported.

ToolRunner builds every error of a call here; the doors (HTTP, command line) only pass envelopes
on. Text from plugins and callers is untrusted: it is cut and made harmless before it gets in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self, cast

from toolrunner.runner.envelope import Envelope, ErrorDetails
from toolrunner.sandbox.ending import Isolation, Usage

MAX_MESSAGE_BYTES = 4 * 1024
MAX_TRACEBACK_BYTES = 64 * 1024
MAX_DETAIL_BYTES = 64 * 1024
MAX_PLUGIN_BYTES = 256
CUT_MARK = "… [cut]"

# Terminals and log readers act on these: C0 (but tab and newline), DEL, C1, line separators,
# and the marks that reorder text or hide in it.
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


class Blame(StrEnum):
    """Who has to act for the next call to succeed."""

    CALLER = "caller"
    HOST = "host"
    PLUGIN = "plugin"


class ErrorType(StrEnum):
    """Every type that an envelope can carry; ``blame`` says whose fault it is."""

    blame: Blame

    def __new__(cls, value: str, blame: Blame) -> Self:
        """Make a member that is its name as a string and knows whom it blames."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.blame = blame
        return member

    VALIDATION_ERROR = "ValidationError", Blame.CALLER
    PLUGIN_NOT_FOUND = "PluginNotFound", Blame.CALLER
    CANCELLED = "Cancelled", Blame.CALLER
    SANDBOX_ERROR = "SandboxError", Blame.HOST
    OVERLOADED = "Overloaded", Blame.HOST
    INTERNAL_ERROR = "InternalError", Blame.HOST
    PLUGIN_UNAVAILABLE = "PluginUnavailable", Blame.PLUGIN
    PLUGIN_LOAD_ERROR = "PluginLoadError", Blame.PLUGIN
    TIME_LIMIT_EXCEEDED = "TimeLimitExceeded", Blame.PLUGIN
    CPU_LIMIT_EXCEEDED = "CpuLimitExceeded", Blame.PLUGIN
    MEMORY_LIMIT_EXCEEDED = "MemoryLimitExceeded", Blame.PLUGIN
    PROCESS_LIMIT_EXCEEDED = "ProcessLimitExceeded", Blame.PLUGIN
    DISK_LIMIT_EXCEEDED = "DiskLimitExceeded", Blame.PLUGIN
    OUTPUT_LIMIT_EXCEEDED = "OutputLimitExceeded", Blame.PLUGIN
    PLUGIN_CRASHED = "PluginCrashed", Blame.PLUGIN
    PROTOCOL_ERROR = "ProtocolError", Blame.PLUGIN
    EXECUTION_ERROR = "ExecutionError", Blame.PLUGIN
    OUTPUT_VALIDATION_ERROR = "OutputValidationError", Blame.PLUGIN


class CancelledBy(StrEnum):
    """Who has ended a call that could have gone on."""

    CALLER = "caller"
    OPERATOR = "operator"  # of the service: by a job's end, or by revoking a key
    SERVER = "server"  # which ends, and may serve the same call once it is there again


# The key of ``details`` that says it, of a ``Cancelled``.
CANCELLED_BY = "cancelled_by"
RETRYABLE: frozenset[ErrorType] = frozenset(t for t in ErrorType if t.blame is Blame.HOST)


def blame_of(error_type: ErrorType, details: Mapping[str, object]) -> Blame:
    """Return whom an error blames: its type says it, but of ``Cancelled``, who has cancelled."""
    if error_type is ErrorType.CANCELLED:
        by = details.get(CANCELLED_BY, CancelledBy.CALLER)
        return Blame.CALLER if by == CancelledBy.CALLER else Blame.HOST
    return error_type.blame


def is_retryable(error_type: ErrorType, details: Mapping[str, object]) -> bool:
    """Whether the same call may do better later."""
    if error_type is ErrorType.CANCELLED:
        return details.get(CANCELLED_BY) == CancelledBy.SERVER
    return error_type in RETRYABLE


class GovernedError(Exception):
    """A step of ToolRunner refuses the call; ToolRunner turns it into an envelope."""

    def __init__(
        self,
        error_type: ErrorType,
        message: str,
        details: Mapping[str, object] | None = None,
        *,
        traceback: str = "",
    ) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.details = dict(details or {})
        self.traceback = traceback


def build_error_envelope(
    error_type: ErrorType,
    message: str,
    *,
    plugin: str | None,
    call_id: str,
    usage: Usage | None = None,
    isolation: Isolation | None = None,
    details: Mapping[str, object] | None = None,
    traceback: str = "",
) -> Envelope:
    """Return the envelope of one failed call; strict JSON, whatever the strings contain.

    ``usage`` and ``isolation`` default to those of a call that never ran. What ``details`` says
    about blame, call_id, usage or isolation is overruled; about retryable, unless it is False.
    """
    details = details or {}
    is_final = details.get("retryable") is False
    merged = {
        **_harmless_mapping(details),
        "blame": blame_of(error_type, details).value,
        "retryable": is_retryable(error_type, details) and not is_final,
        "call_id": call_id,
        "usage": asdict(usage or Usage()),
        "isolation": _isolation(isolation or Isolation()),
    }
    return {
        "error": {
            "type": error_type.value,
            "message": cut_end(message, MAX_MESSAGE_BYTES),
            "details": cast("ErrorDetails", merged),
            "plugin": None if plugin is None else cut_end(plugin, MAX_PLUGIN_BYTES),
            "timestamp": timestamp(datetime.now(UTC)),
        },
        "_internal": {"traceback": cut_start(traceback, MAX_TRACEBACK_BYTES)},
    }


def cut_end(text: str, max_bytes: int) -> str:
    """Return harmless ``text`` of at most ``max_bytes`` UTF-8 bytes, its start kept and marked."""
    # A character takes a byte at least, so what is beyond can never be kept: do not escape it.
    data = harmless(text[: max_bytes + 1]).encode()
    if len(data) <= max_bytes:
        return data.decode()
    mark = CUT_MARK.encode()
    return data[: max_bytes - len(mark)].decode(errors="ignore") + CUT_MARK


def cut_start(text: str, max_bytes: int) -> str:
    """Return harmless ``text`` of at most ``max_bytes`` UTF-8 bytes, its end kept and marked."""
    data = harmless(text[-max_bytes - 1 :]).encode()
    if len(data) <= max_bytes:
        return data.decode()
    mark = f"{CUT_MARK}\n".encode()
    return mark.decode() + data[len(data) - max_bytes + len(mark) :].decode(errors="ignore")


def harmless(text: str) -> str:
    r"""Return ``text`` with lone surrogates and control characters spelled out as ``\x1b``."""
    return _HARMFUL.sub(_spell, text)


def one_line(text: str) -> str:
    r"""Return harmless ``text`` in which line breaks and tabs are spelled out too, as ``\n``."""
    return harmless(text).replace("\n", "\\n").replace("\t", "\\t")


def _spell(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape", "surrogatepass").decode("ascii")


def _harmless_mapping(values: Mapping[str, object]) -> dict[str, object]:
    return {cut_end(str(key), MAX_PLUGIN_BYTES): _harmless_value(v) for key, v in values.items()}


def _harmless_value(value: object) -> object:
    """Return what JSON can carry of ``value``; anything of a foreign type becomes its text."""
    match value:
        case None | int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case str():
            return cut_start(value, MAX_DETAIL_BYTES)
        case Mapping():
            return _harmless_mapping(value)
        case list() | tuple() | set() | frozenset():
            return [_harmless_value(item) for item in value]
        case _:
            return cut_end(str(value), MAX_DETAIL_BYTES)


def _isolation(isolation: Isolation) -> dict[str, object]:
    return {
        "mode": isolation.mode,
        "layers": list(isolation.layers),
        "missing": list(isolation.missing),
    }


def timestamp(moment: datetime) -> str:
    """Return a moment of UTC as it stands in every envelope and message, in milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
