"""The figures of the last two hours, in memory that the processes of a server share.

Counters say how much there has been; when it was is only known to who has looked before. The
supervisor looks every few seconds, and writes what all workers have counted into the next slot of a
ring. Workers read it when somebody asks. A slot is valid while its number says so, before and after
it was read: whoever dies in the middle leaves one that nobody reads.
"""

from __future__ import annotations

import json
import math
import mmap
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolrunner.api.metrics import families
from toolrunner.api.metrics.tables import Key
from toolrunner.runner.errors import ErrorType

STEP_SECONDS = 5.0
_SLOTS = 1440  # two hours
# Figures of each plugin take more room: they are of fewer moments.
_PLUGIN_STEP_SECONDS = 30.0
_PLUGIN_SLOTS = 22
_PLUGIN_BYTES = 1 << 20
OUTCOMES = ("success", *(str(one) for one in ErrorType))
BOUNDS = (*(f"{one:g}" for one in families.SECONDS), "+Inf")
_GAUGES = (
    families.WAITING.name,
    families.BOXES.name,
    families.BOXES_MEMORY.name,
    families.RESIDENTS.name,
    families.RESIDENTS_MEMORY.name,
)
_OF_PLUGINS = (*_GAUGES[1:], families.RESIDENTS_IDLE.name, families.RESIDENTS_WAITING.name)
_HEAD = struct.Struct("Qdd")  # its number, and when it was written: by the wall and monotonic
_VALUES = struct.Struct(f"{len(OUTCOMES) + len(BOUNDS) + len(_GAUGES)}d")
_WORD = struct.Struct("Q")

Table = Iterable[tuple[Key, float]]


@dataclass(frozen=True, slots=True)
class Sample:
    """What had been counted by a moment: calls by OUTCOMES, their times by BOUNDS; and gauges.

    ``at`` is seconds since 1970, ``clock`` monotonic; ``number`` counts samples.
    """

    number: int
    at: float
    clock: float
    calls: tuple[float, ...]
    times: tuple[float, ...]
    waiting: float
    boxes: float
    boxes_bytes: float
    residents: float
    residents_bytes: float


@dataclass(slots=True)
class PluginSample:
    """The same of one plugin; its gauges by the names of their families."""

    calls: float = 0.0
    failures: dict[str, float] = field(default_factory=dict)
    times: list[float] = field(default_factory=lambda: [0.0] * len(BOUNDS))
    gauges: dict[str, float] = field(default_factory=dict)


class _Ring:
    """Slots that one process writes, and others read."""

    def __init__(self, slots: int, size: int) -> None:
        self._slots, self._size = slots, -(-size // _WORD.size) * _WORD.size
        # The kernel gives a page when it is first written to.
        self._memory = mmap.mmap(-1, _WORD.size + self._slots * self._size)

    @property
    def written(self) -> int:
        """How many there have been."""
        return int(_WORD.unpack_from(self._memory, 0)[0])

    def write(self, data: bytes) -> None:
        """Fill the next slot; ``data`` begins with its number."""
        number = self.written + 1
        at = self._at(number)
        _WORD.pack_into(self._memory, at, 0)  # from now on it is nobody's
        self._memory[at + _WORD.size : at + len(data)] = data[_WORD.size :]
        _WORD.pack_into(self._memory, at, number)
        _WORD.pack_into(self._memory, 0, number)

    def read(self, number: int) -> bytes | None:
        """Return what is in the slot of a number; ``None`` if that is another's by now."""
        at = self._at(number)
        data = bytes(self._memory[at : at + self._size])
        is_whole = _WORD.unpack_from(data)[0] == number
        return data if is_whole and _WORD.unpack_from(self._memory, at)[0] == number else None

    def numbers(self) -> range:
        """Return the numbers of the slots that there are, the oldest first."""
        last = self.written
        return range(max(1, last - self._slots + 1), last + 1)

    def _at(self, number: int) -> int:
        return _WORD.size + number % self._slots * self._size


class History:
    """What a server's tables have been. Made before the first fork; one process writes."""

    def __init__(self) -> None:
        self._all = _Ring(_SLOTS, _HEAD.size + _VALUES.size)
        self._plugins = _Ring(_PLUGIN_SLOTS, _PLUGIN_BYTES)
        self._next_of_plugins = float("-inf")

    def note(self, tables: Iterable[Table]) -> None:
        """Write down what is in all tables now."""
        values = dict.fromkeys(
            (*((families.CALLS.name, one) for one in OUTCOMES), *_TIMES, *_GAUGE_KEYS), 0.0
        )
        plugins: dict[str, PluginSample] = {}
        for table in tables:
            for key, number in table:
                _add(values, plugins, key, number)
        head = _HEAD.pack(0, time.time(), time.monotonic())
        self._all.write(head + _VALUES.pack(*values.values()))
        now = time.monotonic()
        if now >= self._next_of_plugins:
            self._next_of_plugins = now + _PLUGIN_STEP_SECONDS - STEP_SECONDS / 2
            text = json.dumps({name: _shortened(one) for name, one in plugins.items()}).encode()
            if _HEAD.size + len(text) + _WORD.size <= _PLUGIN_BYTES:
                self._plugins.write(head + _WORD.pack(len(text)) + text)

    def samples(self, seconds: float, *, every: int = 1) -> list[Sample]:
        """Return those of the last so many seconds, the oldest first, or one of so many.

        Which ones these are does not change as time goes by.
        """
        since = time.monotonic() - seconds
        found: list[Sample] = []
        for number in reversed(self._all.numbers()):
            if number % every:
                continue
            data = self._all.read(number)
            if data is None:
                continue
            sample = _sample(data)
            if sample.clock < since:
                break
            found.append(sample)
        return found[::-1]

    def of_plugins(self, seconds: float) -> tuple[float, _Plugins, _Plugins] | None:
        """Return each plugin's figures of about so many seconds ago, and the newest.

        With the seconds that lie between them; ``None`` while there are not two moments.
        """
        numbers = self._plugins.numbers()
        if len(numbers) < 2:  # noqa: PLR2004 - the two that are compared
            return None
        newest = self._plugins.read(numbers[-1])
        back = min(len(numbers) - 1, max(1, round(seconds / _PLUGIN_STEP_SECONDS)))
        older = self._plugins.read(numbers[-1 - back])
        if newest is None or older is None:
            return None
        passed = _HEAD.unpack_from(newest)[2] - _HEAD.unpack_from(older)[2]
        return (passed, _plugins(older), _plugins(newest)) if passed > 0 else None


_Plugins = Mapping[str, PluginSample]
_TIMES = tuple((families.CALL_SECONDS.name, bound) for bound in BOUNDS)
_GAUGE_KEYS = tuple((name,) for name in _GAUGES)


def _add(
    values: dict[tuple[str, ...], float], plugins: dict[str, PluginSample], key: Key, number: float
) -> None:
    name, *labels = key
    if name in {families.CALLS.name, families.CALL_SECONDS.name}:
        plugin, last = labels
        if (name, last) not in values:  # such as the sum of all times
            return
        values[name, last] += number
        sample = plugins.setdefault(plugin, PluginSample())
        if name == families.CALL_SECONDS.name:
            sample.times[BOUNDS.index(last)] += number
            return
        sample.calls += number
        if last != OUTCOMES[0]:
            sample.failures[last] = sample.failures.get(last, 0.0) + number
        return
    if (name,) in values:
        values[name,] += number
    if name in _OF_PLUGINS:
        gauges = plugins.setdefault(labels[0], PluginSample()).gauges
        gauges[name] = gauges.get(name, 0.0) + number


def _shortened(sample: PluginSample) -> list[Any]:
    times = {place: number for place, number in enumerate(sample.times) if number}
    return [sample.calls, sample.failures, times, sample.gauges]


def _plugins(data: bytes) -> _Plugins:
    [size] = _WORD.unpack_from(data, _HEAD.size)
    start = _HEAD.size + _WORD.size
    found: dict[str, PluginSample] = {}
    for name, (calls, failures, times, gauges) in json.loads(data[start : start + size]).items():
        found[name] = PluginSample(calls, failures, gauges=gauges)
        for place, number in times.items():
            found[name].times[int(place)] = number
    return found


def _sample(data: bytes) -> Sample:
    number, at, clock = _HEAD.unpack_from(data)
    values = _VALUES.unpack_from(data, _HEAD.size)
    calls, rest = values[: len(OUTCOMES)], values[len(OUTCOMES) :]
    return Sample(number, at, clock, calls, rest[: len(BOUNDS)], *rest[len(BOUNDS) :])


def quantile(share: float, times: Sequence[float]) -> float | None:
    """Return the seconds that a share of calls took at most: the bound of a bucket, or infinity.

    ``times``: how many took so long, by BOUNDS. ``None`` where there were none. Nobody knows where
    in its bucket a call was, so that any number between two bounds would be made up.
    """
    total = sum(times)
    if total <= 0:
        return None
    wanted, passed = share * total, 0.0
    for bound, number in zip(families.SECONDS, times, strict=False):
        passed += number
        if number and passed >= wanted:
            return float(bound)
    return math.inf
