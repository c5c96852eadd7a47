"""How a call in a box ended, and why a resident was: plain facts, without judgement.

The box fills an ``Ending`` in; the runner's verdict turns it into a result or an error envelope.
Everything under ``reply`` comes from the plugin's side and is untrusted.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from toolrunner.sandbox.artifacts import Artifact


class Stage(StrEnum):
    """How far the call had come when it ended."""

    SETUP = "setup"
    LOAD = "load"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class SetupFailure:
    """Why the box could not be set up as required: nothing of the plugin ran."""

    operation: str
    message: str
    errno: int | None = None
    remedy: str = ""


# What a host runs out of, whatever is asked of it: no plugin's fault.
SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
HOST_MEMORY = "host_memory_mb"
HOST_MEANS = "host_means"
ARTIFACTS = "artifacts"


@dataclass(frozen=True, slots=True)
class LimitHit:
    """A limit that we enforced by killing the call, in the limit's own unit.

    ``name`` is a field of ``Limits``, or ``ARTIFACTS``: how many a reply may have; or
    ``HOST_MEMORY``: what the host has left for all; or ``HOST_MEANS``, without figures: what the
    host lacks to measure the call with.
    """

    name: str
    configured: float
    observed: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call used; zeros when nothing ran."""

    wall_ms: int = 0
    cpu_ms: int = 0
    peak_memory_bytes: int = 0
    processes: int = 0
    output_bytes: int = 0
    log_bytes_dropped: int = 0


StartMode = Literal["warm", "cold", "resident"]


@dataclass(frozen=True, slots=True)
class Isolation:
    """What confined a call: how it started, and ``layers`` as "landlock:7", "seccomp"."""

    mode: StartMode = "cold"
    layers: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Returned:
    """``run`` returned: ``body`` is the JSON text of its value, not parsed yet.

    ``artifacts``: what was given back beside it, whole and checked.
    """

    body: bytes
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True, slots=True)
class Unserializable:
    """``run`` returned something that strict JSON cannot carry; ``message`` says what and where."""

    message: str


@dataclass(frozen=True, slots=True)
class Raised:
    """The plugin raised, while loading or running. Strings are whole only up to their caps.

    ``blames_caller``: it has refused its input, by an ``InvalidInput``. ``claims``: a limit that a
    program says to have met, by words that anybody can write.
    """

    exception: str
    message: str
    traceback: str
    errno: int | None = None
    is_memory_error: bool = False
    cannot_start_thread: bool = False
    blames_caller: bool = False
    claims: str = ""


Reply = Returned | Unserializable | Raised


@dataclass(frozen=True, slots=True)
class Ending:
    """Everything known about one ended call. At most one of the causes is judged: the first.

    ``refused`` says what its caller has done that kept it from being begun.
    ``protocol_error`` says what was wrong with the reply channel's bytes. ``exit_code`` and
    ``signal`` (a name as "SIGSEGV") are the cell's own end as its parent saw it; both ``None``
    when it was still running or is unknown. ``killed`` tells that we killed it, ``from_outside``
    that neither we nor the plugin did, ``host_ran_out`` that the kernel's out-of-memory killer did,
    with the call below its limit. ``where``: the stack of what had taken too long or has
    crashed, by the plugin's own word. ``began``: when its request was sent, on the monotonic clock;
    0 for never. ``reached``: the limits, of "scratch_mb" and "processes", that it was seen to have
    come up to.
    """

    stage: Stage
    usage: Usage = field(default_factory=Usage)
    isolation: Isolation = field(default_factory=Isolation)
    setup: SetupFailure | None = None
    cancelled: bool = False
    refused: str = ""
    limit: LimitHit | None = None
    signal: str | None = None
    exit_code: int | None = None
    killed: bool = False
    from_outside: bool = False
    host_ran_out: bool = False
    protocol_error: str | None = None
    reply: Reply | None = None
    log_tail: str = ""
    where: str = ""
    began: float = 0.0
    reached: frozenset[str] = frozenset()
    details: Mapping[str, object] = field(default_factory=dict)


class Replaced(StrEnum):
    """Why a resident has been ended, other than with its runner."""

    FAILED = "failed"  # a call in it has failed
    CANCELLED = "cancelled"  # the call in it was withdrawn, or all of a batch
    LEFTOVERS = "leftovers"  # a call has left a process or open files behind
    BETWEEN_CALLS = "between calls"  # it did something that no call has asked for
    CALLS = "calls"  # it has served as many as it may
    IDLE = "idle"
    CHANGED = "changed"  # the plugin's files, its limits or its configuration
    MEMORY = "memory"  # all residents together took too much
    ROOM = "room"  # for another plugin's
    ENDED = "ended"  # by itself, or killed from outside


@dataclass(frozen=True, slots=True)
class BoxFigures:
    """The warm boxes of one plugin: those that are there, and how many were ever started.

    ``memory_bytes``: as of when it was last looked at.
    """

    boxes: int
    memory_bytes: int
    started: int


@dataclass(frozen=True, slots=True)
class ResidentFigures:
    """The residents of one plugin, of all callers.

    ``processes`` are there now, of which ``idle`` serve nobody, and ``waiting`` calls wait for one;
    the oldest is so old. ``calls``
    have been served and ``turns`` taken by all that there were: fewer, if some were batches.
    ``replaced``: how many have gone, by reason.
    """

    processes: int
    idle: int
    waiting: int
    oldest_seconds: float
    memory_bytes: int
    calls: int
    turns: int
    replaced: dict[Replaced, int]
