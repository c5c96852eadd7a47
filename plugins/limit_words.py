"""The limit that somebody may have meant who writes one nearly right: its name, unit and number.

Asked by ``fields`` and ``manifest`` about what is no limit, for the end of a message. Judges
nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import fields

from toolrunner.sandbox.limits import LIMIT_NAMES, Limits

# What else they are called, in other tools and in speech.
_OTHER_NAMES = {
    "timeout": "wall_seconds",
    "time": "wall_seconds",
    "time_limit": "wall_seconds",
    "seconds": "wall_seconds",
    "duration": "wall_seconds",
    "mem": "memory_mb",
    "ram": "memory_mb",
    "mem_limit": "memory_mb",
    "memory_limit": "memory_mb",
    "disk": "scratch_mb",
    "tmp": "scratch_mb",
    "storage": "scratch_mb",
    "upload": "payload_mb",
    "result": "output_mb",
    "artifact": "artifacts_mb",
    "logs": "log_kb",
    "nofile": "open_files",
    "files": "open_files",
    "nproc": "processes",
    "procs": "processes",
    "pids": "processes",
}
_BYTES = {
    **dict.fromkeys(("b", "byte", "bytes"), 1),
    **dict.fromkeys(("k", "kb", "kib"), 1 << 10),
    **dict.fromkeys(("m", "mb", "mib"), 1 << 20),
    **dict.fromkeys(("g", "gb", "gib"), 1 << 30),
}
_SECONDS = {
    **dict.fromkeys(("ms", "millis", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
}
_UNITS = {"mb": (_BYTES, 1 << 20), "kb": (_BYTES, 1 << 10), "seconds": (_SECONDS, 1)}
_STEMS = {
    name.rpartition("_")[0]: name for name in LIMIT_NAMES if name.rpartition("_")[2] in _UNITS
}
_TEXT = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([a-z]{0,12})\s*", re.IGNORECASE)
_LONGEST_KEY = 64
# So much of what is counted in MiB or KiB, and more, were bytes.
_WERE_BYTES = 1 << 20


def line_for(name: str, value: object = None) -> str:
    """Return the line of a limit: "memory_mb = 64", with the default for what is no number."""
    number = _in_its_unit(name, *_number(value))
    return f"{name} = {_defaults()[name] if number is None else number}"


def meant(key: str, value: object = None) -> str:
    """Return the line that a wrong key and its value may stand for, "" if there is none."""
    plain = key[:_LONGEST_KEY].lower().replace("-", "_").removeprefix("max_")
    if plain in LIMIT_NAMES:
        return line_for(plain, value)
    if plain in _OTHER_NAMES or plain in _STEMS:
        return line_for(_OTHER_NAMES.get(plain) or _STEMS[plain], value)
    stem, _, unit = plain.rpartition("_")
    name = _OTHER_NAMES.get(stem) or _STEMS.get(stem)
    if name is None or unit not in _units_of(name)[0]:
        return ""
    number, own_unit = _number(value)
    return f"{name} = {_in_its_unit(name, number, own_unit or unit) or _defaults()[name]}"


def as_bytes(name: str, number: float) -> str:
    """Return the line for a number that was meant in bytes, "" if it was not."""
    units, own = _units_of(name)
    if units is not _BYTES or not _WERE_BYTES <= number <= _WERE_BYTES * own:
        return ""
    return line_for(name, f"{int(number)}b")


def _number(value: object) -> tuple[float | None, str]:
    """Return the number and the unit that a value names."""
    if isinstance(value, str) and (found := _TEXT.fullmatch(value)):
        return float(found[1]), found[2].lower()
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return (value if is_number else None), ""  # type: ignore[return-value]  # as was just asked


def _in_its_unit(name: str, number: float | None, unit: str) -> int | float | None:
    """Return a number in the limit's own unit, as it may be written; ``None`` for none."""
    units, own = _units_of(name)
    if number is None or not 0 < number <= 10**15 or (unit and unit not in units):
        return None
    exact = number * units[unit] / own if unit else number
    is_fraction = isinstance(_defaults()[name], float)
    if is_fraction and exact != int(exact):
        return float(f"{exact:.3g}")
    return max(1, math.ceil(exact))


def _units_of(name: str) -> tuple[dict[str, float], float]:
    found: tuple[dict[str, float], float] = _UNITS.get(name.rpartition("_")[2], ({}, 1))  # type: ignore[assignment]  # ints are floats
    return found


def _defaults() -> dict[str, int | float]:
    return {field.name: field.default for field in fields(Limits)}  # type: ignore[misc]  # numbers, all of them
