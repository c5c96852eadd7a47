"""One record a failed call, with what is needed to find its cause, wherever it came from.

Of a call that succeeded, what its plugin has printed, for whoever asks for that much.

Called by ToolRunner. What a plugin or a caller says is in it, so it is the operator's alone; it is
one line, and its end is cut. A plugin's traceback is a record of its own, at a level below.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from toolrunner.plugins.plugin import Plugin
from toolrunner.runner.call import Call
from toolrunner.runner.errors import (
    MAX_TRACEBACK_BYTES,
    ErrorType,
    GovernedError,
    cut_end,
    cut_start,
    one_line,
)
from toolrunner.runner.failures import SuspendedError
from toolrunner.runner.tracebacks import place_in

_LOG = logging.getLogger("toolrunner.calls")
_LONGEST_BYTES = 1000
_LONGEST_NAME = 100
_LONGEST_PRINTED = 200
_LONGEST_TAIL = 4000
# Between INFO and DEBUG: whoever looks for what plugins print does not want every request.
PRINTED = 15
# Whoever looks into the log at night looks for what is the plugin's or the host's own doing.
# Refusals of what comes too often are counted elsewhere, and would be all that there is to see.
_OF_THE_PLUGIN_OR_HOST = frozenset(
    one for one in ErrorType if one.blame.value != "caller" and one is not ErrorType.OVERLOADED
)


def log_failure(
    name: str, call: Call, failure: GovernedError, plugin: Plugin | None, version: str
) -> None:
    """Log why a call has failed; ``plugin`` is ``None`` where it is not known."""
    kind = failure.error_type
    if kind is ErrorType.INTERNAL_ERROR and failure.traceback:
        return  # a bug of ours: where it was caught it was logged
    level = logging.INFO
    if kind in _OF_THE_PLUGIN_OR_HOST and not isinstance(failure, SuspendedError):
        level = logging.WARNING
    if not _LOG.isEnabledFor(level):
        return
    about = {"call_id": call.call_id, "plugin": name[:_LONGEST_NAME]}
    path = None if plugin is None else plugin.path
    words = one_line(cut_end(_words(failure, path), _LONGEST_BYTES))
    shown = f"{call.call_id} of {_whose(name, call, version)}"
    _LOG.log(level, "call %s failed: %s", shown, words, extra=about)
    if failure.traceback and _LOG.isEnabledFor(logging.INFO):
        _log_traceback(call.call_id, failure.traceback, about)


def log_printed(name: str, call: Call, plugin: Plugin | None) -> None:
    """Log the end of what was printed in a call that succeeded, where ``PRINTED`` is logged."""
    printed = call.log_tail.rstrip()
    if not printed or not _LOG.isEnabledFor(PRINTED):
        return
    version = "" if plugin is None else plugin.manifest.version
    shown = f"{call.call_id} of {_whose(name, call, version)}"
    cut = "the last of it: …" if len(printed) > _LONGEST_TAIL else ""
    words = one_line(printed[-_LONGEST_TAIL:])
    about = {"call_id": call.call_id, "plugin": name[:_LONGEST_NAME]}
    # By a name that formatters know; what it is gated by has none.
    _LOG.info("call %s printed: %s%s", shown, cut, words, extra=about)


def _whose(name: str, call: Call, version: str) -> str:
    """Return what has failed: the plugin and its version, by which door it was asked, and whose."""
    shown = f"{name[:_LONGEST_NAME] or 'no plugin'} {version[:_LONGEST_NAME]}".rstrip()
    caller = f"caller {call.caller[:_LONGEST_NAME]}" if call.caller else ""
    more = ", ".join(part for part in (call.door, caller) if part)
    return one_line(f"{shown} ({more})" if more else shown)


def _log_traceback(call_id: str, traceback: str, about: Mapping[str, object]) -> None:
    message = "traceback of call %s"
    record = _LOG.makeRecord(
        _LOG.name, logging.INFO, __file__, 0, message, (call_id,), None, extra=about
    )
    # A formatter puts it below the record, as that of an exception of ours.
    record.exc_text = cut_start(traceback.rstrip(), MAX_TRACEBACK_BYTES)
    _LOG.handle(record)


def _words(failure: GovernedError, path: Path | None) -> str:
    details = failure.details
    parts = [f"{failure.error_type}: {failure.message}"]
    limit, signal = details.get("limit"), details.get("signal")
    if isinstance(limit, Mapping):
        parts.append(f"limit {limit.get('name')} = {limit.get('configured')}")
    if signal and str(signal) not in failure.message:
        parts.append(f"signal {signal}")
    place = None if path is None else place_in(failure.traceback, path)
    if place is not None:
        parts.append(f"at {place.where}" + (f": {place.source}" if place.source else ""))
    printed = str(details.get("log_tail", "")).rstrip()
    if printed:
        last = printed.rpartition("\n")[2][-_LONGEST_PRINTED:]
        parts.append(f"it printed last: {last}")
    return "; ".join(parts)
