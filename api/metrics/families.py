"""All metrics by name: what each counts, by which labels. ``exposition`` tells them in this order.

Labels have values of a closed set, or the names of plugins that there are: never a caller's text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How numbers of several workers become one."""

    COUNTER = "counter"  # their sum, also of those that are dead
    HISTOGRAM = "histogram"  # the same, by bucket
    GAUGE = "gauge"  # the sum of those that live
    HIGHEST = "highest"  # the largest of those that live

    @property
    def is_lasting(self) -> bool:
        """Whether it outlives the worker that has counted it."""
        return self in {Kind.COUNTER, Kind.HISTOGRAM}


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. Counters' names get ``_total`` when they are told."""

    name: str
    kind: Kind
    about: str
    labels: tuple[str, ...] = ()


_RECENT = ", as of the last second."
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

CALLS = Family("toolrunner_calls", Kind.COUNTER, "Calls that have ended.", ("plugin", "outcome"))
KILLS = Family("toolrunner_kills", Kind.COUNTER, "Calls that were killed.", ("plugin", "reason"))
CALL_SECONDS = Family(
    "toolrunner_call_seconds", Kind.HISTOGRAM, "Duration of calls, with their wait.", ("plugin",)
)
WAITING = Family(
    "toolrunner_waiting", Kind.GAUGE, f"Calls that wait for their turn{_RECENT}"
)  # fmt: skip
REQUESTS = Family(
    "toolrunner_http_requests",
    Kind.COUNTER,
    "Requests that were answered.",
    ("method", "route", "status"),
)
REQUESTS_OPEN = Family(
    "toolrunner_http_requests_open", Kind.GAUGE, "Requests whose answer is not whole yet."
)
REQUESTS_LOST = Family(
    "toolrunner_http_requests_lost",
    Kind.COUNTER,
    "Requests whose worker has died before the end of their answer.",
)
REFUSALS = Family(
    "toolrunner_refusals",
    Kind.COUNTER,
    "Requests that were refused: nothing ran.",
    ("reason", "why"),
)
WORKER_RESTARTS = Family(
    "toolrunner_worker_restarts", Kind.COUNTER, "Workers that have died and were replaced."
)
WORKERS_KILLED = Family(
    "toolrunner_workers_killed", Kind.COUNTER, "Workers that SIGKILL has ended, from outside."
)
BOXES = Family("toolrunner_boxes", Kind.GAUGE, f"Warm boxes{_RECENT}", ("plugin",))
BOXES_MEMORY = Family(
    "toolrunner_boxes_memory_bytes",
    Kind.GAUGE,
    "Memory of warm boxes, as of the last seconds.",
    ("plugin",),
)
BOXES_STARTED = Family(
    "toolrunner_boxes_started", Kind.COUNTER, "Warm boxes that were started.", ("plugin",)
)
RESIDENTS = Family("toolrunner_residents", Kind.GAUGE, f"Resident processes{_RECENT}", ("plugin",))
RESIDENTS_IDLE = Family(
    "toolrunner_residents_idle",
    Kind.GAUGE,
    f"Resident processes that serve nobody{_RECENT}",
    ("plugin",),
)
RESIDENTS_WAITING = Family(
    "toolrunner_residents_waiting",
    Kind.GAUGE,
    f"Calls that wait for a resident{_RECENT}",
    ("plugin",),
)
RESIDENTS_MEMORY = Family(
    "toolrunner_residents_memory_bytes",
    Kind.GAUGE,
    f"Memory of resident processes{_RECENT}",
    ("plugin",),
)
RESIDENTS_OLDEST = Family(
    "toolrunner_residents_oldest_seconds",
    Kind.HIGHEST,
    f"Age of the oldest resident process{_RECENT}",
    ("plugin",),
)
RESIDENTS_CALLS = Family(
    "toolrunner_residents_calls", Kind.COUNTER, "Calls that residents have served.", ("plugin",)
)
RESIDENTS_TURNS = Family(
    "toolrunner_residents_turns",
    Kind.COUNTER,
    "Turns that residents have had: a call or a batch each.",
    ("plugin",),
)
RESIDENTS_REPLACED = Family(
    "toolrunner_residents_replaced",
    Kind.COUNTER,
    "Resident processes that have been ended.",
    ("plugin", "reason"),
)
COUNTED = (
    CALLS,
    CALL_SECONDS,
    KILLS,
    WAITING,
    REQUESTS,
    REQUESTS_OPEN,
    REQUESTS_LOST,
    REFUSALS,
    WORKER_RESTARTS,
    WORKERS_KILLED,
    BOXES,
    BOXES_MEMORY,
    BOXES_STARTED,
    RESIDENTS,
    RESIDENTS_IDLE,
    RESIDENTS_WAITING,
    RESIDENTS_MEMORY,
    RESIDENTS_OLDEST,
    RESIDENTS_CALLS,
    RESIDENTS_TURNS,
    RESIDENTS_REPLACED,
)
BY_NAME = {family.name: family for family in COUNTED}

# What is the same whoever is asked, and is looked at when somebody asks.
IN_FLIGHT = Family(
    "toolrunner_in_flight", Kind.GAUGE, "Calls that run or wait now.", ("plugin",)
)  # fmt: skip
PLUGIN_STATE = Family(
    "toolrunner_plugin_state", Kind.GAUGE, "1 for the state of a plugin.", ("plugin", "state")
)
PLUGIN_UNAVAILABLE = Family(
    "toolrunner_plugin_unavailable",
    Kind.GAUGE,
    "1 for what a plugin lacks that cannot run here.",
    ("plugin", "lacks"),
)
PLUGIN_SUSPENDED = Family(
    "toolrunner_plugin_suspended",
    Kind.GAUGE,
    "1 for who has suspended a plugin.",
    ("plugin", "by"),
)
PLUGIN_FAILURES = Family(
    "toolrunner_plugin_failures_in_row",
    Kind.GAUGE,
    "Failures of a plugin since it last worked, where there is a breaker.",
    ("plugin",),
)
PLUGIN_INFO = Family(
    "toolrunner_plugin_info",
    Kind.GAUGE,
    "1 for the version of a plugin and where its calls find modules.",
    ("plugin", "version", "environment"),
)
ENVIRONMENTS = Family("toolrunner_environments", Kind.GAUGE, "Environments that are installed.")
JOBS = Family("toolrunner_jobs", Kind.GAUGE, "Jobs that are kept.", ("status",))
JOBS_OLDEST = Family(
    "toolrunner_jobs_oldest_pending_seconds",
    Kind.GAUGE,
    "How long the oldest job has waited that waits now, and can be run; 0 if none does.",
)
JOBS_STRANDED = Family(
    "toolrunner_jobs_oldest_stranded_seconds",
    Kind.GAUGE,
    "How long the oldest job has waited that nobody can run; 0 if there is none.",
)
JOBS_ENDED = Family(
    "toolrunner_jobs_ended",
    Kind.COUNTER,
    "Jobs that have ended, in this state folder.",
    ("status",),
)
PROBLEM = Family(
    "toolrunner_problem", Kind.GAUGE, "1 for a part that does not work; see /readyz.", ("part",)
)
LAYER = Family("toolrunner_isolation_layer", Kind.GAUGE, "Layers that confine calls.", ("layer",))
BUILD = Family("toolrunner_build_info", Kind.GAUGE, "What runs.", ("version",))
SEEN = (
    IN_FLIGHT,
    PLUGIN_STATE,
    PLUGIN_UNAVAILABLE,
    PLUGIN_SUSPENDED,
    PLUGIN_FAILURES,
    PLUGIN_INFO,
    ENVIRONMENTS,
    JOBS,
    JOBS_OLDEST,
    JOBS_STRANDED,
    JOBS_ENDED,
    PROBLEM,
    LAYER,
    BUILD,
)
