"""What a plugin may ask for as the second parameter of ``run``.

Shares a process with the plugin, as all of the worker: nothing here protects anybody.
"""

from __future__ import annotations

import os
import time

from . import protocol, wire
from .artifacts import Artifacts

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    import _thread
    import socket
    from pathlib import Path
    from typing import Any


class Context:
    """One call's, or that of a batch of them."""

    def __init__(
        self,
        channel: socket.socket | None,
        lock: _thread.LockType,
        config: dict[str, Any],
        request: dict[str, Any],
        *others: dict[str, Any],
    ) -> None:
        """``channel``: ``None`` for nobody who listens. ``others``: those of the same batch."""
        self.call_id: str = request["call_id"]
        self.tool: str = request.get("tool", "")
        self.call_ids: list[str] = [one["call_id"] for one in (request, *others)]
        self.config = config
        self.artifacts = Artifacts(channel, lock)
        self._channel = channel
        self._lock = lock
        self._request = request

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
        """Tell the caller how far the work has come: 0 to 1, and words if there are any."""
        if self._channel is None:
            return
        report = {"fraction": min(max(float(fraction), 0.0), 1.0), "message": str(message)[:500]}
        with self._lock:
            wire.send(self._channel, protocol.PROGRESS, report)

    def artifact(self, name: str, data: Any, mime_type: str | None = None) -> dict[str, object]:
        """Give a file back beside the result; return what is to stand for it in the result.

        ``data``: bytes, or the path of a file below the scratch. Without a ``mime_type`` the name
        says it.
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
        return Context(None, self._lock, self.config, self._request)
