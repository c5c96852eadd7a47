"""What a caller hears of a call while it runs: its progress, and what its plugin logs."""

from __future__ import annotations

import logging

from toolrunner.runner.call import Call
from toolrunner.runner.errors import one_line
from toolrunner.runner.program import LOGGER_PREFIX
from toolrunner.sandbox.exchange.messages import Listener

_LOG = logging.getLogger("toolrunner.runner")


def listener_of(name: str, call: Call) -> Listener:
    """Return what passes a plugin's progress and log records on to the caller."""
    logger = logging.getLogger(f"{LOGGER_PREFIX}.{name}")

    def on_log(level: int, source: str, message: str) -> None:
        # A line break in it would begin a record of its own, in a log that is read by lines.
        extra = {"call_id": call.call_id, "plugin": name, "plugin_logger": one_line(source)}
        logger.log(level, "%s: %s", call.call_id, one_line(message), extra=extra)

    def on_progress(fraction: float, message: str) -> None:
        if call.on_progress is None:
            return
        try:
            call.on_progress(fraction, one_line(message))
        except Exception:  # noqa: BLE001 - logged with its traceback
            # The caller's own code, in the middle of the call: its mistake is not the plugin's.
            _LOG.exception("on_progress of call %s raised; the call goes on", call.call_id)

    return Listener(on_progress, on_log)
