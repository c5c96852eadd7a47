"""From what was measured of a plugin to what its author, or the operator, would better write.

Called by ``check``. Pure: nothing here measures or runs anything.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

from toolrunner.api.cli.console import counted
from toolrunner.api.cli.examined import Examined
from toolrunner.api.cli.measuring import Measured, Tried, gains_by_warming_up
from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.payloads.samples import rehearsal
from toolrunner.runner.start_mode import Start

# A call has to gain this much to be worth a line: a factor, and milliseconds.
_GAIN, _GAIN_MS = 1.5, 10.0
_FULL = 0.9  # of a limit: more is too near
_ROOM = 1.25
_STEP_MB = 64
_FINE_MS = 10  # below it, tenths are told


def advise(manifest: Manifest, start: Start, measured: Measured) -> tuple[str, ...]:
    """Return what to write, most useful first; nothing where all is well."""
    return tuple(
        words
        for group in (
            _missed(manifest, start, measured),
            _modes(manifest, start, measured),
            _warm_up(manifest, measured),
            _memory(measured),
        )
        for words in group
    )


def advise_to_name(manifest: Manifest, unnamed: Sequence[str]) -> tuple[str, ...]:
    """Return what to write where a plugin uses what the runner has, and does not name it."""
    if not unnamed:
        return ()
    line = ", ".join(json.dumps(name) for name in (*manifest.dependencies, *unnamed))
    verb = "is" if len(unnamed) == 1 else "are"
    words = (
        f"write dependencies = [{line}] in the manifest: {', '.join(unnamed)} {verb} the runner's "
        "own, and missing in an environment of the plugin's, or where the runner has others"
    )
    return (words,)


def advise_after_failure(manifest: Manifest, start: Start, tried: Tried) -> tuple[str, ...]:
    """Return what to write about a plugin whose call has failed, if something has helped."""
    if tried.memory_mb is not None:
        needed = tried.memory_mb
        return (f"set memory_mb to {memory_to_set(needed)}: it held {needed:.0f} MiB",)
    if tried.too_little_mb:
        return (f"it has too little with memory_mb = {tried.too_little_mb}, too",)
    if "cold" not in tried.p50_ms:
        return ()
    cold = told_ms(tried.p50_ms["cold"])
    if start.mode == "failed":
        return (f"loaded for one call alone (cold), without warm_up(), it answers in {cold}",)
    how = "forked from the loaded plugin" if start.mode == "warm" else "in a process that stays"
    instead = (
        f'say start = "cold": a call that runs {how} fails, one that loads it anew takes {cold}'
    )
    if "resident" in tried.p50_ms:
        instead += (
            f'; or start = "resident", and have the operator add {manifest.plugin} to '
            f"allow_resident: {told_ms(tried.p50_ms['resident'])}"
        )
    return (instead,)


def memory_to_set(needed_mb: float) -> int:
    """Return a ``memory_mb`` with some room, as people write them."""
    return math.ceil(needed_mb * _ROOM / _STEP_MB) * _STEP_MB


def _missed(manifest: Manifest, start: Start, measured: Measured) -> Iterator[str]:
    """Warn of what its author may try next, and what would fail."""
    failed = {missed.what: missed.why for missed in measured.missed if missed.by_call}
    if "warm calls" in failed and manifest.start == "auto" and start.mode != "warm":
        yield (
            f'do not say start = "warm": forked from the loaded plugin, {failed["warm calls"]}; '
            "it may wait for a thread that only its import has. Leave it as it is, or say "
            'start = "cold"'
        )
    if "resident calls" in failed and manifest.start not in ("resident", start.mode):
        yield f'do not say start = "resident": in a process that stays, {failed["resident calls"]}'


def _modes(manifest: Manifest, start: Start, measured: Measured) -> Iterator[str]:
    p50 = measured.p50_ms
    now = p50.get(start.mode)
    if now is None or manifest.start == "cold":  # which its author has chosen
        return
    best = now
    wants_resident = manifest.start == "resident"
    if start.mode != "warm" and not wants_resident and _is_gain(now, p50.get("warm")):
        best = p50["warm"]
        yield (
            f'say start = "warm" in the manifest, if no call needs what its import has started: '
            f"{told_ms(best)} instead of {told_ms(now)}"
        )
    if measured.warmed_up_ms is not None:
        best = min(best, measured.warmed_up_ms)  # which asks nothing of the operator
    if start.mode != "resident" and _is_gain(best, p50.get("resident")):
        say = "" if wants_resident else 'say start = "resident", and '
        yield (
            f"{say}have the operator add {manifest.plugin} to allow_resident: "
            f"{told_ms(p50['resident'])} instead of {told_ms(now)}; calls then share a process"
        )


def _is_gain(now: float, other: float | None) -> bool:
    return other is not None and now > other * _GAIN and now - other > _GAIN_MS


def _warm_up(manifest: Manifest, measured: Measured) -> Iterator[str]:
    found = measured.examined
    if found is None or manifest.warm_up or not gains_by_warming_up(found):
        return
    tried = measured.warmed_up_ms
    then = f"; with warm_up = true a call was {told_ms(tried)}" if tried is not None else ""
    is_image = manifest.input == "image" and rehearsal(manifest)
    has_sample = is_image or (manifest.input_schema or {}).get("examples")
    yield (
        f"write warm_up(){', or say warm_up = true' if has_sample else ''}: the first call takes "
        f"{told_ms(found.first_ms)}, the next one {told_ms(found.second_ms)}"
        f"{_imports_of_a_call(found)}{then}"
    )


def _imports_of_a_call(found: Examined) -> str:
    if not found.calling.modules:
        return ""
    names = ", ".join(package.name for package in found.calling.packages[:3])
    return f", and it imports {counted(found.calling.modules, 'module')} ({names})"


def _memory(measured: Measured) -> Iterator[str]:
    if measured.peak_memory_mb > measured.memory_mb * _FULL:
        ends = measured.peak_memory_mb > measured.memory_mb
        yield (
            f"set memory_mb to {memory_to_set(measured.peak_memory_mb)}: a call held "
            f"{measured.peak_memory_mb:.0f} of {measured.memory_mb} MiB, with what its import holds"
            f"{', so any call may be ended as soon as that is measured' if ends else ''}"
        )


def told_ms(value: float) -> str:
    """Return a time as people read it."""
    return f"{value:.1f} ms" if value < _FINE_MS else f"{value:.0f} ms"
