"""What is told of residents: how many there are, how old, what they have done and why they went."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping

from toolrunner.sandbox.ending import Replaced, ResidentFigures
from toolrunner.sandbox.modes.resident_process import ResidentProcess


class ResidentCounts:
    """What has been counted so far. Changed under the lock of its owner."""

    def __init__(self) -> None:
        self._calls: collections.Counter[str] = collections.Counter()
        self._turns: collections.Counter[str] = collections.Counter()
        self._replaced: collections.Counter[tuple[str, Replaced]] = collections.Counter()

    def served(self, plugin: str, calls: int) -> None:
        """Count a turn with so many calls."""
        self._calls[plugin] += calls
        self._turns[plugin] += 1

    def left(self, plugin: str, why: Replaced) -> None:
        """Count one that goes."""
        self._replaced[plugin, why] += 1

    def figures(
        self,
        residents: Iterable[ResidentProcess],
        idle: Iterable[ResidentProcess],
        waiting: Mapping[str, int],
    ) -> dict[str, ResidentFigures]:
        """Return it all by plugin, with those that are there."""
        there: dict[str, list[ResidentProcess]] = collections.defaultdict(list)
        for resident in residents:
            there[resident.plugin].append(resident)
        idles = collections.Counter(resident.plugin for resident in idle)
        names = {*there, *waiting, *self._calls, *(name for name, _ in self._replaced)}
        return {
            name: ResidentFigures(
                processes=len(there[name]),
                idle=idles[name],
                waiting=waiting.get(name, 0),
                oldest_seconds=max((one.age_seconds for one in there[name]), default=0.0),
                memory_bytes=sum(one.memory_bytes for one in there[name]),
                calls=self._calls[name],
                turns=self._turns[name],
                replaced={
                    why: count for (plugin, why), count in self._replaced.items() if plugin == name
                },
            )
            for name in sorted(names)
        }
