"""What ToolRunner hands to the sandbox: the sandbox itself, and who hears of a call meanwhile."""

from __future__ import annotations

import logging

from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.call import Call
from toolrunner.runner.errors import one_line
from toolrunner.runner.program import logger_name
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.exchange.messages import Listener
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.modes.resident import ResidentLimits
from toolrunner.sandbox.modes.warm_box import PoolLimits
from toolrunner.sandbox.sandbox import Sandbox

_LOG = logging.getLogger("toolrunner.runner")


def build_sandbox(
    settings: Settings,
    *,
    layers: Layers | None = None,
    degraded: bool = False,
    parallel: int | None = None,
) -> Sandbox:
    """Return the sandbox that the settings ask for.

    ``layers``: apply these instead of all that the host has. ``degraded``: accept less than the
    floor, whatever the settings say. ``parallel``: calls of one plugin at once, if not as many.
    """
    pool = PoolLimits(
        standby=settings.standby,
        boxes=settings.max_boxes,
        memory_mb=settings.boxes_memory_mb,
        idle_seconds=settings.idle_seconds,
        calls=settings.calls_per_box,
        parallel=settings.max_parallel if parallel is None else parallel,
    )
    residents = ResidentLimits(
        each=settings.max_residents,
        all=settings.max_boxes or 1,
        memory_mb=settings.residents_memory_mb,
        calls=settings.calls_per_resident,
        idle_seconds=settings.idle_seconds,
    )
    degraded = degraded or settings.isolation == "degraded"
    return Sandbox(
        degraded=degraded,
        layers=layers,
        pool=pool,
        residents=residents,
        state=settings.state if settings.keeps_state else None,
        threads_per_call=settings.threads_per_call,
    )


def listener(manifest: Manifest, call: Call) -> Listener:
    """Return what passes a plugin's progress and log records on to the caller."""
    logger = logging.getLogger(logger_name(manifest))

    def on_log(level: int, source: str, message: str) -> None:
        # A line break in it would begin a record of its own, in a log that is read by lines.
        extra = {
            "call_id": call.call_id,
            "plugin": manifest.name,
            "plugin_logger": one_line(source),
        }
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
