"""From how a call ended to what it means: one pure function, an ordered table of small rules.

ToolRunner calls ``judge`` once a call. The first rule that matches decides: could not confine,
cancelled, a limit that we enforced, how the process ended, the reply. Nothing here measures,
parses, logs or raises; what a plugin said is quoted, never believed.
"""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from toolrunner.runner.errors import ErrorType
from toolrunner.sandbox.artifacts import Artifact
from toolrunner.sandbox.ending import (
    ARTIFACTS,
    HOST_MEANS,
    HOST_MEMORY,
    Ending,
    LimitHit,
    Raised,
    Returned,
    Stage,
    Unserializable,
)
from toolrunner.sandbox.shortage import REMEDY

_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORK_ERRORS = frozenset({"BlockingIOError", "OSError"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call came to: exactly one of ``result_body`` and ``error_type`` is set.

    ``result_body`` is JSON text that nobody has parsed yet. ``limit``: the name of the one behind
    an error of this type, where the process itself has met it. ``artifacts``: only with a result.
    """

    result_body: bytes | None
    error_type: ErrorType | None
    message: str = ""
    details: Mapping[str, object] = field(default_factory=dict)
    traceback: str = ""
    limit: str = ""
    artifacts: tuple[Artifact, ...] = ()


# The limit that stands behind a type of error which the plugin itself met.
_KERNEL_LIMITS = {
    ErrorType.CPU_LIMIT_EXCEEDED: "cpu_seconds",
    ErrorType.MEMORY_LIMIT_EXCEEDED: "memory_mb",
    ErrorType.PROCESS_LIMIT_EXCEEDED: "processes",
    ErrorType.DISK_LIMIT_EXCEEDED: "scratch_mb",
}


# What a program can only say: it counts where the call was seen to have come up to the limit.
_CLAIMS = {
    "scratch_mb": (ErrorType.DISK_LIMIT_EXCEEDED, errno.ENOSPC),
    "processes": (ErrorType.PROCESS_LIMIT_EXCEEDED, errno.EAGAIN),
}


def judge(ending: Ending) -> Outcome:
    """Return the outcome of an ended call; total, and the same for the same ending."""
    for rule in _RULES:
        outcome = rule(ending)
        if outcome is not None:
            return outcome
    return _error(ending, ErrorType.PLUGIN_CRASHED, "ended without a reply, nobody knows how")


def _error(
    ending: Ending,
    error_type: ErrorType,
    message: str,
    details: Mapping[str, object] | None = None,
    traceback: str = "",
    *,
    limit: str = "",
) -> Outcome:
    merged = {**ending.details, **(details or {})}
    if ending.log_tail:
        merged["log_tail"] = ending.log_tail
    limit = limit or _KERNEL_LIMITS.get(error_type, "")
    return Outcome(None, error_type, message, merged, traceback, limit)


# Could not confine


def _could_not_confine(ending: Ending) -> Outcome | None:
    setup = ending.setup
    if setup is None:
        return None
    details = {"operation": setup.operation, "errno": setup.errno, "remedy": setup.remedy}
    message = f"{setup.operation}: {setup.message}" + (f"; {setup.remedy}" if setup.remedy else "")
    return _error(ending, ErrorType.SANDBOX_ERROR, message, details)


# Cancelled


def _cancelled(ending: Ending) -> Outcome | None:
    if not ending.cancelled:
        return None
    return _error(ending, ErrorType.CANCELLED, f"the call was cancelled{_while_loading(ending)}")


def _refused(ending: Ending) -> Outcome | None:
    return _error(ending, ErrorType.VALIDATION_ERROR, ending.refused) if ending.refused else None


# A limit that we enforced


@dataclass(frozen=True, slots=True)
class _LimitWords:
    """How to report one limit; ``text`` may use {amount} ("131 MiB of 128 MiB") and {most}."""

    error_type: ErrorType
    unit: str
    text: str


_LIMITS: Mapping[str, _LimitWords] = MappingProxyType(
    {
        "wall_seconds": _LimitWords(ErrorType.TIME_LIMIT_EXCEEDED, " s", "ran longer than {most}"),
        "load_seconds": _LimitWords(
            ErrorType.PLUGIN_LOAD_ERROR, " s", "took longer than {most} to load"
        ),
        "cpu_seconds": _LimitWords(
            ErrorType.CPU_LIMIT_EXCEEDED, " s", "used {amount} of processor time"
        ),
        "memory_mb": _LimitWords(ErrorType.MEMORY_LIMIT_EXCEEDED, " MiB", "used {amount}"),
        "processes": _LimitWords(ErrorType.PROCESS_LIMIT_EXCEEDED, " processes", "had {amount}"),
        "threads": _LimitWords(ErrorType.PROCESS_LIMIT_EXCEEDED, " threads", "had {amount}"),
        "scratch_mb": _LimitWords(
            ErrorType.DISK_LIMIT_EXCEEDED, " MiB", "wrote {amount} of scratch space"
        ),
        "output_mb": _LimitWords(ErrorType.OUTPUT_LIMIT_EXCEEDED, " MiB", "replied with {amount}"),
        "artifacts_mb": _LimitWords(
            ErrorType.OUTPUT_LIMIT_EXCEEDED, " MiB", "gave back {amount} in artifacts"
        ),
        ARTIFACTS: _LimitWords(
            ErrorType.OUTPUT_LIMIT_EXCEEDED, " artifacts", "gave back more than {most}"
        ),
    }
)


def _host_memory(ending: Ending, hit: LimitHit) -> Outcome:
    """Return the outcome of a call that has passed no limit: the host was about to fail."""
    message = (
        f"the host has only {hit.observed:.0f} MiB of memory left, so its largest call was ended"
    )
    return _error(ending, ErrorType.OVERLOADED, message, {"retry_after_seconds": 1})


def _unmeasured(ending: Ending) -> Outcome:
    """Return the outcome of a call that the host had nothing left to measure with."""
    message = (
        "measure the call: the host has no thread, descriptor or memory left for that, so the call"
        f" was ended; {REMEDY}"
    )
    facts = {"operation": "measure the call", "errno": None, "remedy": REMEDY}
    return _error(ending, ErrorType.SANDBOX_ERROR, message, facts)


def _limit_enforced(ending: Ending) -> Outcome | None:
    hit = ending.limit
    if hit is None:
        return None
    if hit.name == HOST_MEMORY:
        return _host_memory(ending, hit)
    if hit.name == HOST_MEANS:
        return _unmeasured(ending)
    limit = {"name": hit.name, "configured": hit.configured, "observed": hit.observed}
    words = _LIMITS.get(hit.name)
    if words is None:
        message = f"the sandbox ended the call for a limit nobody enforces: {hit.name}"
        return _error(ending, ErrorType.INTERNAL_ERROR, message, {"limit": limit})
    message = words.text.format(amount=_amount(hit, words.unit), most=_most(hit, words.unit))
    if words.error_type is not ErrorType.PLUGIN_LOAD_ERROR:
        message += _while_loading(ending)
    return _error(ending, words.error_type, message, {"limit": limit}, ending.where)


def _amount(hit: LimitHit, unit: str) -> str:
    if _number(hit.observed) == _number(hit.configured):
        return f"more than {_most(hit, unit)}"
    return f"{_number(hit.observed)}{unit} of {_most(hit, unit)}"


def _most(hit: LimitHit, unit: str) -> str:
    return f"{_number(hit.configured)}{unit}"


def _number(value: float) -> str:
    """Return up to two decimals: "131", "0.25", "1024"."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _while_loading(ending: Ending) -> str:
    return " while loading" if ending.stage is Stage.LOAD else ""


# How the process ended. A final reply decides over it: after its reply a process may hang, crash
# or be killed by us.


def _killed_from_outside(ending: Ending) -> Outcome | None:
    """The plugin has not to answer for what somebody else on the host has done."""
    if not ending.from_outside or _is_final(ending):
        return None
    details: dict[str, object] = {"signal": ending.signal}
    if ending.host_ran_out:
        message = "the host has no memory left, so the kernel's out-of-memory killer ended the call"
        return _error(ending, ErrorType.OVERLOADED, message, {**details, "retry_after_seconds": 1})
    remedy = "try again, and see the kernel's log for its out-of-memory killer"
    message = (
        f"run the call: its process was killed ({ending.signal}){_while_loading(ending)} by "
        f"something else than toolrunner and the plugin; {remedy}"
    )
    facts = {"operation": "run the call", "errno": None, "remedy": remedy, **details}
    return _error(ending, ErrorType.SANDBOX_ERROR, message, facts)


def _died_by_signal(ending: Ending) -> Outcome | None:
    """A death that was not our doing comes before whatever half of a reply it left behind."""
    if ending.signal is None or ending.killed or _is_final(ending):
        return None
    details = {"signal": ending.signal}
    if ending.signal == "SIGXCPU":
        message = f"used up its processor time{_while_loading(ending)} (SIGXCPU)"
        return _error(ending, ErrorType.CPU_LIMIT_EXCEEDED, message, details)
    hint = ""
    if ending.signal == "SIGKILL":
        hint = "; not by us: see the kernel's log for its out-of-memory killer"
    return _death(ending, f"died by {ending.signal}", details, hint)


def _broke_protocol(ending: Ending) -> Outcome | None:
    if ending.protocol_error is None:
        return None
    return _error(ending, ErrorType.PROTOCOL_ERROR, ending.protocol_error, _end_facts(ending))


def _ended_without_reply(ending: Ending) -> Outcome | None:
    if ending.reply is not None:
        return None
    if ending.exit_code is not None:
        end = f"ended with exit status {ending.exit_code} without a reply"
    elif ending.killed:
        end = "was killed by the runner before it replied"
    else:
        return None
    return _death(ending, end, _end_facts(ending))


def _death(ending: Ending, end: str, details: Mapping[str, object], hint: str = "") -> Outcome:
    if ending.stage is Stage.SETUP:
        # Nothing of the plugin has run yet, so it cannot be to blame.
        facts = {"operation": "set-up", "errno": None, "remedy": "", **details}
        message = f"the sandbox {end} while it was set up{hint}; try `toolrunner doctor`"
        return _error(ending, ErrorType.SANDBOX_ERROR, message, facts)
    kind = ErrorType.PLUGIN_CRASHED
    if ending.stage is Stage.LOAD:
        kind, end = ErrorType.PLUGIN_LOAD_ERROR, f"{end} while loading"
    return _error(ending, kind, end + hint, details, ending.where)


def _is_final(ending: Ending) -> bool:
    return ending.reply is not None and ending.protocol_error is None


def _end_facts(ending: Ending) -> dict[str, object]:
    facts = {"signal": ending.signal, "exit_code": ending.exit_code}
    return {name: value for name, value in facts.items() if value is not None}


# The reply


def _returned(ending: Ending) -> Outcome | None:
    if not isinstance(ending.reply, Returned):
        return None
    return Outcome(ending.reply.body, None, artifacts=ending.reply.artifacts)


def _unserializable(ending: Ending) -> Outcome | None:
    if not isinstance(ending.reply, Unserializable):
        return None
    return _error(ending, ErrorType.OUTPUT_VALIDATION_ERROR, ending.reply.message)


def _raised(ending: Ending) -> Outcome | None:
    raised = ending.reply
    if not isinstance(raised, Raised):
        return None
    met, number = _proven(raised, ending.reached)
    error_type = _type_of(raised, ending.stage, met)
    message = f"{raised.exception}: {raised.message}" if raised.message else raised.exception
    if error_type is ErrorType.VALIDATION_ERROR:
        message = raised.message or "the plugin says that the input is invalid"
    message += _hint(raised)
    details: dict[str, object] = {"exception": raised.exception}
    if number is not None:
        details["errno"] = number
    if error_type is not ErrorType.PLUGIN_LOAD_ERROR:  # which says so; a hint ends the message
        message += _while_loading(ending)
    limit = "threads" if raised.cannot_start_thread else ""
    return _error(ending, error_type, message, details, raised.traceback, limit=limit)


def _proven(raised: Raised, reached: frozenset[str]) -> tuple[ErrorType | None, int | None]:
    """Return the limit's type that a program says to have met, where that was seen; the errno."""
    if raised.claims in _CLAIMS and raised.claims in reached:
        return _CLAIMS[raised.claims]
    return None, raised.errno


def _hint(raised: Raised) -> str:
    """Return what to write instead, where the sandbox denies what a library does by default.

    From the last lines that are shown. It is the plugin's word, and only advice.
    """
    last_lines = raised.traceback.rstrip().splitlines()[-3:]
    if raised.errno == errno.EPERM and any("mmap" in line for line in last_lines):
        return (
            "; memory that is shared and anonymous is denied on this host, which could not count "
            "it: use mmap.mmap(-1, n, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), or map a file "
            "in the scratch"
        )
    return ""


def _type_of(raised: Raised, stage: Stage, met: ErrorType | None) -> ErrorType:
    """Return what an exception comes to; ``met``: the limit's that it is proven to have met."""
    # Python's word for ENOMEM is MemoryError, but not from mmap.
    if raised.is_memory_error or (raised.errno == errno.ENOMEM and raised.exception == "OSError"):
        return ErrorType.MEMORY_LIMIT_EXCEEDED
    if stage is not Stage.RUN:
        return ErrorType.PLUGIN_LOAD_ERROR
    if raised.blames_caller:
        return ErrorType.VALIDATION_ERROR
    if raised.cannot_start_thread or (
        raised.errno == errno.EAGAIN and raised.exception in _FORK_ERRORS
    ):
        return ErrorType.PROCESS_LIMIT_EXCEEDED
    if raised.errno in _DISK_ERRNOS:
        return ErrorType.DISK_LIMIT_EXCEEDED
    return met or ErrorType.EXECUTION_ERROR


_RULES: tuple[Callable[[Ending], Outcome | None], ...] = (
    _could_not_confine,
    _cancelled,
    _refused,
    _limit_enforced,
    _killed_from_outside,
    _died_by_signal,
    _broke_protocol,
    _ended_without_reply,
    _returned,
    _unserializable,
    _raised,
)
