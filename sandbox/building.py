"""A box of its own kind, for what makes something on the host's disk: environments of plugins.

No plugin runs in it, and so no call is made here: who uses it has a program of ours, which starts
what may be hostile. Beside its scratch it may write to folders of the host, whose growth is
watched; what it has left there is taken over by ``copy_tree``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import TracebackType

from toolrunner.sandbox.box import SetupError
from toolrunner.sandbox.disk_guard import DiskGuard
from toolrunner.sandbox.ending import Ending, SetupFailure
from toolrunner.sandbox.exchange.messages import Listener, Request
from toolrunner.sandbox.interrupt import Interrupt
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import Limits
from toolrunner.sandbox.profile import Program
from toolrunner.sandbox.root_host import FIRST_BOX_UID, unreachable_by
from toolrunner.sandbox.sandbox import Sandbox
from toolrunner.sandbox.scratch import remove_tree, tree_bytes
from toolrunner.sandbox.tree import Copied, HostileTreeError, copy_tree

__all__ = [
    "Builder",
    "Built",
    "Copied",
    "HostileTreeError",
    "copy_tree",
    "remove_tree",
    "tree_bytes",
]


# The ABI (Linux 5.13 to 5.18) under which no file is moved from one folder to another, whatever a
# ruleset allows. Installers do that all the time.
_NEVER_MOVES = 1
_CANNOT_MOVE = SetupFailure(
    "make something in a box",
    "this kernel's Landlock (ABI 1) lets nobody move files between folders; allow mount "
    "namespaces, or use Linux 5.19 or later",
)


@dataclass(frozen=True, slots=True)
class Built:
    """How it ended, and whether that was for having written too much."""

    ending: Ending
    wrote_too_much: bool


class Builder:
    """Runs programs that make something, each in a box. A context manager."""

    def __init__(self, *, degraded: bool = False, layers: Layers | None = None) -> None:
        """As of ``Sandbox``."""
        self._degraded = degraded
        self._sandbox = Sandbox(degraded=degraded, layers=layers)

    def build(
        self,
        program: Program,
        limits: Limits,
        payload: bytes,
        *,
        disk_mb: int,
        on_progress: Callable[[str], None],
    ) -> Built:
        """Run a program once, cold; raise nothing but bugs.

        ``disk_mb``: by how much what it may write to may grow.
        """
        interrupt = Interrupt()
        listener = Listener(on_progress=lambda _fraction, words: on_progress(words))
        with DiskGuard(program.write, disk_mb, interrupt) as guard:
            ending = self._sandbox.call(
                program,
                limits,
                Request(program.name, payload),
                interrupt=interrupt,
                listener=listener,
                start="cold",
            )
        return Built(ending, guard.hit)

    def walks(self) -> bool:
        """Tell whether the box's user has to get at all that it uses by itself.

        So it is for root where a box has no root of its own.
        """
        return os.geteuid() == 0 and "mount" not in self._sandbox.layers().namespaces

    def unreachable(self, paths: Iterable[str]) -> str | None:
        """Return a folder that the box's user cannot cross on the way to one of these."""
        return unreachable_by(FIRST_BOX_UID, paths) if self.walks() else None

    def __enter__(self) -> Builder:
        layers = self._sandbox.layers()
        if layers.landlock == _NEVER_MOVES:
            self._sandbox.close()
            if "mount" not in layers.namespaces:
                raise SetupError(_CANNOT_MOVE)
            # Its root is its own, so that it needs no Landlock to see no foreign files.
            self._sandbox = Sandbox(degraded=self._degraded, layers=replace(layers, landlock=0))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sandbox.close()
