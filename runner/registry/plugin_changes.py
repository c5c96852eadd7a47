"""What a look at the plugins finds that was not so before: new, gone, changed, or of no use.

Called by who serves, with what two registries have seen. Nothing is read or applied here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from toolrunner.plugins.plugin import Plugin


@dataclass(frozen=True, slots=True)
class Seen:
    """One plugin as a registry has it; ``reason``: why it cannot run here, "" if it can."""

    version: str
    reason: str = ""
    plugin: Plugin | None = None


class What(StrEnum):
    """What has become of a plugin."""

    NEW = "new"
    GONE = "gone"
    CHANGED = "changed"
    UNAVAILABLE = "unavailable"
    AVAILABLE = "available"


_SERVICE_LOST = frozenset({What.GONE, What.UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class PluginChange:
    """One plugin that is not what it was.

    ``version`` and ``was`` are its versions, now and before: "" for one that has none, ``None``
    where there is, or was, no such plugin. ``reason``: why it cannot run here.
    """

    plugin: str
    change: What
    version: str | None
    was: str | None
    reason: str = ""

    @property
    def is_loss(self) -> bool:
        """Whether callers are refused by it, so that somebody has to look."""
        return self.change in _SERVICE_LOST

    def __str__(self) -> str:
        """What the log says of it."""
        now = f"{self.plugin} {self.version or ''}".rstrip()
        if self.change is What.NEW:
            return f"{now} is new"
        if self.change is What.GONE:
            return f"{self.plugin} {self.was}".rstrip() + " is gone"
        if self.change is What.UNAVAILABLE:
            since = "is new, and cannot run" if self.was is None else "cannot run now"
            if self.was not in {None, self.version}:
                now = f"{self.plugin} {self.was} -> {_told(self.version)}"
            return f"{now} {since}: {self.reason}"
        again = " can run again" if self.change is What.AVAILABLE else ""
        if self.version == self.was:
            return now + (again or " has another manifest")
        arrow = f"{self.plugin} {_told(self.was)} -> {_told(self.version)}"
        return f"{arrow}, and{again}" if again else arrow


def plugin_changes(
    before: Mapping[str, Seen], after: Mapping[str, Seen]
) -> tuple[PluginChange, ...]:
    """Return what differs, by name."""
    found = []
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        found.append(
            PluginChange(
                name,
                _what(was, now),
                None if now is None else now.version,
                None if was is None else was.version,
                "" if now is None else now.reason,
            )
        )
    return tuple(found)


def _what(was: Seen | None, now: Seen | None) -> What:
    if now is None:
        return What.GONE
    if now.reason:
        return What.UNAVAILABLE
    if was is None:
        return What.NEW
    return What.AVAILABLE if was.reason else What.CHANGED


def _told(version: str | None) -> str:
    return version or "without a version"
