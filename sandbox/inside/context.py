"""What a plugin may ask for as the second parameter of ``run``.

Shares a process with the plugin, as all of the worker: nothing here protects anybody.
"""

from __future__ import annotations

import os
import time

from . import logs, protocol, wire
from .artifacts import Artifacts

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    import _thread
    import socket
    from pathlib import Path
    from typing import Any

_ROUNDING = 1e-6  # a sum of shares may be a little more than 1


class Context:
    """One call's, or that of a batch of them."""

    def __init__(
        self,
        channel: socket.socket | None,
        lock: _thread.LockType,
        order: dict[str, Any],
        request: dict[str, Any],
        *others: dict[str, Any],
    ) -> None:
        """``channel``: ``None`` for nobody who listens. ``order``: the one to load the plugin.

        ``others``: those of the same batch.
        """
        self.call_id: str = request["call_id"]
        self.tool: str = request.get("tool", "")
        self.call_ids: list[str] = [one["call_id"] for one in (request, *others)]
        # Whose children a plugin's own requests are; a batch of them has no one parent.
        self.traceparent: str = "" if others else request.get("traceparent", "")
        self.config: dict[str, Any] = order["config"]
        self._order = order
        self.artifacts = Artifacts(channel, lock)
        self._channel = channel
        self._lock = lock
        self._request = request
        self._left = protocol.PROGRESS_BYTES_CAP
        self._next_at = 0.0
        self._newest = b""  # a report that was kept back
        self._is_warned = False

    @property
    def output_bytes(self) -> int:
        """What a reply may hold; with more it is refused."""
        most: int = self._request["output_bytes"]
        return most

    @property
    def scratch(self) -> Path:
        """The call's own folder: the working directory, empty at first and gone afterwards."""
        from pathlib import Path

        return Path(os.environ["TMPDIR"])

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell the caller how far the work has come: 0 to 1, and words if there are any.

        Of many reports some are left out; the last one is always told.
        """
        share = float(fraction)
        if share != share:  # noqa: PLR0124 - as NaN alone
            raise ValueError("the fraction of context.progress is nan; give a number from 0 to 1")
        if self._channel is None:
            return
        told = min(max(share, 0.0), 1.0)
        if abs(share - told) > _ROUNDING and not self._is_warned:
            self._is_warned = True
            words = f"progress of {share:g} was told as {told:g}; give a number from 0 to 1"
            logs.warn(words, self._order)
        report = {"fraction": told, "message": str(message)[:500]}
        body = wire.as_json(report)
        with self._lock:
            if self._is_due(len(body)):
                self._send_progress(body)
            else:
                self._newest = body

    def tell_newest(self) -> None:
        """Send a report that was kept back, if there is one: nothing newer will come."""
        if self._newest:
            with self._lock:
                self._send_progress(self._newest)

    def _is_due(self, size: int) -> bool:
        """Tell whether a report may be sent now: the second half lasts until the deadline."""
        if self._left - size >= protocol.PROGRESS_BYTES_CAP // 2:
            return True
        now = time.monotonic()
        if now < self._next_at or self._left - size < protocol.PROGRESS_CAP:
            return False
        self._next_at = now + self.seconds_left() * size / self._left
        return True

    def _send_progress(self, body: bytes) -> None:
        assert self._channel is not None
        self._left -= len(body)
        self._newest = b""
        wire.send(self._channel, protocol.PROGRESS, body)

    def artifact(self, name: str, data: Any, mime_type: str | None = None) -> dict[str, object]:
        """Give a file back beside the result; return what is to stand for it in the result.

        ``data``: bytes, or the path of a file below the scratch, but of none that the call was
        given. Without a ``mime_type`` the name says it.
        """
        if len(self.call_ids) > 1:
            message = (
                "context.artifact cannot tell whose file it is in a batch; put the picture, or the "
                "path of the file, into the result that it belongs to"
            )
            raise RuntimeError(message)
        return self.artifacts.give(name, data, mime_type)

    def seconds_left(self) -> float:
        """Return the seconds until the wall limit ends the call."""
        deadline: float = self._request["deadline"]
        return max(0.0, deadline - time.monotonic())

    def unheard(self) -> Context:
        """Return the same for a call that is only tried: what it tells goes to nobody."""
        return Context(None, self._lock, self._order, self._request)
