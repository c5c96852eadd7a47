"""What is known of a call while it goes on, and the ``Ending`` that it makes.

At most one of the causes is set, once: the first thing that decides the call. Nothing is judged.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass

from toolrunner.sandbox.ending import (
    Ending,
    Isolation,
    LimitHit,
    Reply,
    SetupFailure,
    Stage,
    Usage,
)
from toolrunner.sandbox.watch import Watch

CLOSED = "the reply channel was closed without a reply"  # and its process has not ended

# Of these faulthandler writes a stack.
_CRASH = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}


@dataclass(slots=True)
class Facts:
    """Filled in by an ``Exchange``. Times are of the monotonic clock; 0 for never.

    ``report``: the warden's, of the cell's end. ``killed``: its end was ordered.
    """

    stage: Stage = Stage.SETUP
    reply: Reply | None = None
    limit: LimitHit | None = None
    setup: SetupFailure | None = None
    protocol_error: str | None = None
    cancelled: bool = False
    killed: bool = False
    report: Mapping[str, object] | None = None
    started: float = 0.0
    replied: float = 0.0
    output_bytes: int = 0

    @property
    def has_crashed(self) -> bool:
        """Whether a signal has ended the cell of which it says before where it was."""
        status = self.report["status"] if self.report is not None else None
        return isinstance(status, int) and os.WIFSIGNALED(status) and os.WTERMSIG(status) in _CRASH

    @property
    def has_answer(self) -> bool:
        """Whether the call channel has decided the call, by a reply or by what is none."""
        return self.reply is not None or self.protocol_error is not None

    def ending(
        self,
        watch: Watch,
        isolation: Isolation,
        log_tail: str,
        dropped: int,
        *,
        where: str = "",
        outlived: bool = False,
    ) -> Ending:
        """Return how the call ended. ``dropped``: bytes of its log that were not kept.

        ``outlived``: its process was there before it, and what that had used is not the call's.
        """
        usage = self._usage(watch, dropped, outlived=outlived)
        status = self.report["status"] if self.report is not None else None
        killed, protocol_error = self.killed, self.protocol_error
        by_warden = self.report is not None and self.report.get("ended_by_us")
        if by_warden and status == signal.SIGKILL and not killed and self.limit is None:
            killed = True
            protocol_error = str(by_warden)
        if protocol_error == CLOSED and status not in (None, signal.SIGKILL):
            protocol_error = None  # it only was long about its end, which says more
        return Ending(
            stage=self.stage,
            usage=usage,
            isolation=isolation,
            setup=self.setup,
            cancelled=self.cancelled,
            limit=self.limit,
            signal=signal_name(status) if isinstance(status, int) else None,
            exit_code=exit_code(status) if isinstance(status, int) else None,
            # A process that died of something else before our order took it was not killed by us.
            killed=killed and (status is None or status == signal.SIGKILL),
            from_outside=self._is_from_outside(watch),
            host_ran_out=watch.host_ran_out,
            protocol_error=protocol_error,
            reply=self.reply,
            log_tail=log_tail,
            where=where,
            began=self.started,
            reached=watch.reached(),
        )

    def _is_from_outside(self, watch: Watch) -> bool:
        """Tell whether neither we nor the plugin have sent the SIGKILL that was the end."""
        report = self.report
        if report is None or report["status"] != signal.SIGKILL:
            return False
        if self.killed or self.limit is not None or report.get("ended_by_us"):
            return False
        return watch.host_ran_out or not report.get("by_itself", True)

    def _usage(self, watch: Watch, dropped: int, *, outlived: bool) -> Usage:
        if self.stage is Stage.SETUP:
            return Usage()
        ended = self.replied or time.monotonic()
        report = self.report or {}
        cpu_ms, maxrss_kib = report.get("cpu_ms", 0), report.get("maxrss_kib", 0)
        assert isinstance(cpu_ms, int)
        assert isinstance(maxrss_kib, int)
        return Usage(
            wall_ms=round((ended - self.started) * 1000) if self.started else 0,
            cpu_ms=round(watch.call_cpu_seconds * 1000)
            if outlived
            else max(cpu_ms, round(watch.cpu_seconds * 1000)),
            # The kernel's own high-water mark also sees a call that ends between two samples.
            peak_memory_bytes=max(
                watch.peak_memory_bytes, 0 if watch.is_sampled else maxrss_kib * 1024
            ),
            processes=max(1, watch.peak_processes),
            output_bytes=self.output_bytes,
            log_bytes_dropped=dropped,
        )


def signal_name(status: int) -> str | None:
    """Return the name of the signal that ended a process, as "SIGSEGV"."""
    if not os.WIFSIGNALED(status):
        return None
    number = os.WTERMSIG(status)
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def exit_code(status: int) -> int | None:
    """Return the exit status of a process that ended by itself."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
