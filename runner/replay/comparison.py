"""What a call that was run again came to beside what it came to then, and what has changed since.

The command ``replay`` asks. Nothing is run here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from toolrunner.plugins.plugin import Plugin
from toolrunner.runner.environments.choice import Choice
from toolrunner.runner.errors import Blame, ErrorType
from toolrunner.runner.replay.bundle import FailedCall
from toolrunner.runner.replay.fingerprint import fingerprint
from toolrunner.sandbox.ending import Usage
from toolrunner.sandbox.limits import Limits

_NOTHING = asdict(Usage())


class Outcome(StrEnum):
    """What became of a call that was run again."""

    SAME = "same"
    SUCCEEDED = "succeeded"
    OTHER = "other"
    NOT_RUN = "not-run"


def cause_of(error: Mapping[str, Any]) -> dict[str, object]:
    """Return what makes a failure the same as another: its type, and what that is about.

    Of a limit that is the limit: whether the watchdog or the kernel is first is chance.
    """
    details = error["details"]
    cause: dict[str, object] = {"type": error["type"]}
    if isinstance(limit := details.get("limit"), Mapping):
        return {**cause, "limit": limit.get("name")}
    for key in ("signal", "exit_code", "exception"):
        if details.get(key) is not None:
            cause[key] = details[key]
    return cause


def in_words(cause: Mapping[str, object]) -> str:
    """Return a cause for people: ``MemoryLimitExceeded (limit memory_mb)``."""
    about = [
        f"{key.replace('_', ' ')} {value}" if key in {"limit", "exit_code"} else str(value)
        for key, value in cause.items()
        if key != "type"
    ]
    return f"{cause['type']} ({', '.join(about)})" if about else str(cause["type"])


def outcome_of(then: Mapping[str, Any], now: Mapping[str, Any] | None) -> Outcome:
    """Return how two ends of a call compare; ``now`` is ``None`` for a success."""
    if now is None:
        return Outcome.SUCCEEDED
    if cause_of(then) == cause_of(now):
        return Outcome.SAME
    details = now["details"]
    is_refusal = now["type"] == ErrorType.PLUGIN_UNAVAILABLE or details["blame"] != Blame.PLUGIN
    has_run = details["usage"] != _NOTHING
    return Outcome.NOT_RUN if is_refusal and not has_run else Outcome.OTHER


def limits_again(call: FailedCall, caps: Mapping[str, float]) -> dict[str, float]:
    """Return the caps under which the limits are those of then, as far as ``caps`` allow it."""
    then = {name: value for name, value in call.limits.items() if value > 0}
    return {**caps, **{name: min(value, caps.get(name, value)) for name, value in then.items()}}


def changes(
    call: FailedCall, plugin: Plugin, choice: Choice | None, limits: Limits
) -> Iterator[str]:
    """Yield in words what is not as it was; ``limits``: those that hold for the call now."""
    manifest = plugin.manifest
    if manifest.version != call.version:
        yield f"its version was {call.version or '(none)'}, and is {manifest.version or '(none)'}"
    if fingerprint(plugin) != call.fingerprint:
        yield f"the files of {manifest.name} have changed"
    if manifest.input != call.input:
        yield f"it took {call.input}, and takes {manifest.input}"
    environment = "" if choice is None else choice.name
    if environment != call.environment:
        yield (
            f"its environment was {call.environment[:12] or 'the runner'}, and is "
            f"{environment[:12] or 'the runner'}"
        )
    for name, value in asdict(limits).items():
        if name in call.limits and call.limits[name] != value:
            yield f"{name} was {call.limits[name]:g}, and is {value:g}"
