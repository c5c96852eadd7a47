"""All faults on this host: of each, whether it was contained, and by what."""

from __future__ import annotations

import collections
import contextlib
import errno
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from toolrunner.api.attack.attribution import can_try_without_layers, guards_of
from toolrunner.api.attack.trial import Answer, run_fault
from toolrunner.plugins.corpus import Fault
from toolrunner.runner.envelope import GovernedErrorBody
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.layers import Layers

Outcome = Literal["contained", "degraded", "escaped"]
# What stops a fault besides the layers of confinement.
_DEADLINE, _PROTOCOL, _PROCESS = "deadline", "protocol", "process"
_CLOCKS = frozenset({"wall_seconds", "load_seconds"})
_OF_THE_SCRATCH = frozenset({errno.ENOSPC, errno.EDQUOT})  # a file system with a size of its own
_BY_ERROR = {
    "EPERM": "seccomp",
    "EINVAL": "seccomp",
    "ENOSYS": "seccomp",
    "EOPNOTSUPP": "seccomp",
    "PermissionError": "seccomp",
    "ENOSPC": "namespaces",
    "EAGAIN": "rlimits",
    "EMFILE": "rlimits",
    "ENOMEM": "rlimits",
    "ETOOMANYREFS": "rlimits",
    "RuntimeError": "rlimits",
}
_BY_TYPE = {
    "ProtocolError": _PROTOCOL,
    "OutputLimitExceeded": _PROTOCOL,
    "OutputValidationError": _PROTOCOL,
    "TimeLimitExceeded": _DEADLINE,
}


@dataclass(frozen=True, slots=True)
class Case:
    """What came of one fault, in one of its variants.

    "escaped": it got what it wanted, harmed others or left something behind. "degraded": it did
    not, but cost more than its own call. ``layer`` is what stopped it: a layer of confinement, or
    "deadline" (the runner's clock), "protocol" (the reader of replies), "process" (the call is a
    process of its own, which has nothing to lose but itself).
    """

    name: str
    outcome: Outcome
    layer: str
    detail: str


def attack(fault: Fault, settings: Settings, layers: Layers) -> list[Case]:
    """Run a fault as the settings say; return a case for each variant."""
    with _quiet():
        answers = run_fault(fault, settings, layers)
        return [_case(fault, answer, settings, layers) for answer in answers]


def _case(fault: Fault, answer: Answer, settings: Settings, layers: Layers) -> Case:
    name = f"{fault.name}[{answer.variant}]" if answer.variant else fault.name
    if answer.done or answer.harm:
        obtained = [f"{name}: {answer.attempts[name][1]}" for name in answer.done]
        return Case(name, "escaped", "none", "; ".join([*obtained, *answer.harm]))
    if len(fault.payloads) > 1 and answer.attempts:
        layer, detail = _of_bound(answer)
    elif answer.attempts:
        layer, detail = _of_attempts(fault, answer, settings, layers)
    else:
        layer, detail = _of_end(answer.error)
    if answer.cost:
        return Case(name, "degraded", layer, "; ".join(answer.cost))
    return Case(name, "contained", layer, detail)


def _of_attempts(
    fault: Fault, answer: Answer, settings: Settings, layers: Layers
) -> tuple[str, str]:
    found = collections.Counter(detail for _, detail in answer.attempts.values())
    errors = ", ".join(f"{error} {count}" for error, count in found.most_common())
    denied = f"all {len(answer.attempts)} attempts were denied ({errors})"
    if not can_try_without_layers(layers):
        return "+".join(layers.names()), f"{denied}; as root here, no layer was left out to compare"
    guards = guards_of(fault, answer.attempts, settings, layers)
    return guards.first, f"{denied}: {guards.words()}"


def _of_bound(answer: Answer) -> tuple[str, str]:
    """Return what denied one of several ways to take too much, by the error that it met.

    Without any layer each of them would take what it can: that is not tried.
    """
    _outcome, detail = next(iter(answer.attempts.values()))
    return _BY_ERROR.get(detail.partition(" ")[0], _PROCESS), f"it got no further: {detail}"


def _of_end(error: GovernedErrorBody | None) -> tuple[str, str]:
    """Return what ended a fault that attempts nothing, and in what words, from its envelope."""
    if error is None:
        return _PROCESS, "it harmed nobody, and its call succeeded"
    details, kind = error["details"], str(error["type"])
    words = f"{kind}: {error['message']}"
    limit = details["limit"]["name"] if "limit" in details else None
    if limit in _CLOCKS:
        return _DEADLINE, words
    if limit and kind not in _BY_TYPE:
        # A limit that the plugin met as an error is the kernel's; else we measured it.
        met = "exception" in details or details.get("signal") == "SIGXCPU"
        if details.get("errno") in _OF_THE_SCRATCH:
            return "namespaces", words
        return "rlimits" if met else "watchdog", words
    if details.get("errno") is not None:
        return "rlimits", words
    return _BY_TYPE.get(kind, _PROCESS), words


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the faults log, and what is said of less isolation, out of the operator's log."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
