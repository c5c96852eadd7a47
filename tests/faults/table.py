"""The crash table: for each fault, at which stage it strikes and what may come of calling it.

``None`` stands for a success. Whatever comes of it, the conditions of ``api/attack/trial.py`` hold
as well, and no attempt of an attack may succeed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from toolrunner.runner.errors import ErrorType

E = ErrorType
Outcome = ErrorType | None
Stage = Literal["load", "run", "reply"]


@dataclass(frozen=True)
class Row:
    """``variants``: what differs for some variants. ``warm``: for a plugin that is loaded already.

    ``result``: what a success has to be. ``details``: what an error's details have to hold.
    """

    stage: Stage
    fault: str
    allowed: tuple[Outcome, ...]
    variants: dict[str, tuple[Outcome, ...]] = field(default_factory=dict)
    warm: tuple[Outcome, ...] = ()
    result: dict[str, Any] | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def outcomes(self, variant: str, start: str) -> tuple[Outcome, ...]:
        """Return what may come of a call that starts so."""
        if start != "cold" and self.warm:
            return self.warm
        return self.variants.get(variant, self.allowed)


def run(fault: str, *allowed: Outcome, **facts: Any) -> Row:
    """A fault that strikes while ``run`` runs; without a type it has to succeed."""
    return Row("run", fault, allowed or (None,), **facts)


def load(fault: str, *allowed: Outcome, **facts: Any) -> Row:
    """A fault that strikes while the plugin is imported and constructed."""
    return Row("load", fault, allowed or (None,), **facts)


def reply(fault: str, *allowed: Outcome, **facts: Any) -> Row:
    """A fault that strikes when the result is turned into a reply and sent."""
    return Row("reply", fault, allowed or (None,), **facts)


def limit(name: str) -> dict[str, Any]:
    """The details of a limit that was enforced or met."""
    return {"limit": {"name": name}}


RAN: dict[str, Any] = {"result": {"ran": True}}
MALFORMED = dict.fromkeys(
    ("encoded surrogate", "not UTF-8", "a byte order mark", "a key that is no string",
     "two objects", "half an object", "nothing", "zero bytes"),
    (E.PROTOCOL_ERROR,),
)  # fmt: skip

CHANNEL = (
    reply("channel/forged_reply", result={"forged": True}),
    reply("channel/two_replies", E.PROTOCOL_ERROR),
    reply("channel/own_reply_then_return", E.PROTOCOL_ERROR),
    reply("channel/reply_and_a_byte", E.PROTOCOL_ERROR),
    reply("channel/half_a_frame_then_sigkill", E.PLUGIN_CRASHED, details={"signal": "SIGKILL"}),
    reply("channel/half_a_frame_then_exit", E.PROTOCOL_ERROR),
    reply("channel/half_a_header_then_exit", E.PROTOCOL_ERROR),
    reply(
        "channel/half_a_frame_then_nothing", E.TIME_LIMIT_EXCEEDED, details=limit("wall_seconds")
    ),
    reply("channel/reply_byte_by_byte", result={"a": 1}),
    reply(
        "channel/reply_that_never_gets_done", E.TIME_LIMIT_EXCEEDED, details=limit("wall_seconds")
    ),
    reply("channel/closed", E.PROTOCOL_ERROR),
    reply("channel/closed_then_exit", E.PLUGIN_CRASHED, details={"exit_code": 0}),
    reply("channel/shut_down", E.PROTOCOL_ERROR),
    reply("channel/every_descriptor_closed", E.PLUGIN_CRASHED),
    reply("channel/exit_without_reply", E.PLUGIN_CRASHED, details={"exit_code": 0}),
    reply("channel/exit_with_a_status", E.PLUGIN_CRASHED, details={"exit_code": 7}),
    reply("channel/reply_then_crash", result={}),
    reply("channel/reply_then_hang", result={}),
    reply("channel/endless_reply", E.OUTPUT_LIMIT_EXCEEDED, details=limit("output_mb")),
    reply("channel/announced_4_gib", E.OUTPUT_LIMIT_EXCEEDED, details=limit("output_mb")),
    reply("channel/foreign_frame", E.PROTOCOL_ERROR),
    reply("channel/flood_of_progress", E.PROTOCOL_ERROR),
    reply("channel/malformed_progress", E.PROTOCOL_ERROR),
    reply("channel/malformed_artifact", E.PROTOCOL_ERROR),
    reply("channel/endless_artifact", E.OUTPUT_LIMIT_EXCEEDED, details=limit("artifacts_mb")),
    reply("channel/endless_artifacts", E.OUTPUT_LIMIT_EXCEEDED, details=limit("artifacts")),
    reply("channel/half_an_artifact_then_reply", E.PROTOCOL_ERROR),
    reply(
        "channel/half_an_artifact_then_nothing",
        E.TIME_LIMIT_EXCEEDED,
        details=limit("wall_seconds"),
    ),
    reply("channel/artifact_after_the_reply", E.PROTOCOL_ERROR),
    load("channel/artifact_while_loading", E.PROTOCOL_ERROR),
    reply("channel/malformed_exception", E.PROTOCOL_ERROR),
    reply("channel/exception_of_odd_types", E.PROTOCOL_ERROR),
    reply("channel/malformed_reply", E.OUTPUT_VALIDATION_ERROR, variants=MALFORMED),
    reply("channel/malformed_refusal", E.OUTPUT_VALIDATION_ERROR),
    reply("channel/prints_mixed_in", result={}),
    reply("channel/foreign_log", result={}),
    reply("channel/reply_by_a_grandchild", result={"by": "grandchild"}),
    reply("channel/parent_and_child_reply", E.PROTOCOL_ERROR),
    reply("channel/child_returns_too", result={}),
    reply("channel/descriptors_sent_along", result={}),
    load("channel/payload_never_read", E.TIME_LIMIT_EXCEEDED, details=limit("wall_seconds")),
)

TREE = (
    run("tree/fork_bomb", E.PROCESS_LIMIT_EXCEEDED, details=limit("processes")),
    run("tree/chain_of_forks", None, E.PROCESS_LIMIT_EXCEEDED),
    run("tree/daemon"),
    run("tree/own_session"),
    run("tree/program_left_running"),
    run("tree/becomes_another_program", E.PROTOCOL_ERROR, E.PLUGIN_CRASHED),
    run("tree/stops_itself", E.TIME_LIMIT_EXCEEDED, details=limit("wall_seconds")),
    run("tree/stops_its_group", E.TIME_LIMIT_EXCEEDED, details=limit("wall_seconds")),
    run("tree/ignores_signals", E.TIME_LIMIT_EXCEEDED, details=limit("wall_seconds")),
    run("tree/late_writer"),
    run("tree/grandchild_holds_stdout"),
    run("tree/grandchild_writes_on"),
    run("tree/zombies"),
    run("tree/adopts_orphans"),
    run("tree/attacks_its_supervisor"),
    run("tree/signals_its_neighbours"),
    run("tree/killed_by_an_alarm", E.PLUGIN_CRASHED, details={"signal": "SIGALRM"}),
)

MEMORY = {"details": limit("memory_mb")}
DISK = {"details": limit("scratch_mb")}
CPU = {"details": limit("cpu_seconds")}
# Memory that is denied, and then the call succeeds, or counted; both are right.
UNSEEN = (
    "shared_memory_let_go", "zero_device_mapped", "pinned_pages", "file_locks", "landlock_rules",
    "seccomp_filters", "file_attributes", "futex_hash", "timers_and_signals",
)  # fmt: skip
# Looked at by what each process has, where no cgroup counts it.
COUNTED_BY_PROCESS = (
    "page_tables",
    "socket_buffers",
    "mappings",
    "epoll_items",
    "first_thread_ended",
)
RESOURCES = (
    run("resources/heap", E.MEMORY_LIMIT_EXCEEDED, **MEMORY),
    # Denied where no cgroup would count it.
    run("resources/shared_mapping", E.MEMORY_LIMIT_EXCEEDED, E.EXECUTION_ERROR),
    run("resources/memory_of_children", E.MEMORY_LIMIT_EXCEEDED, **MEMORY),
    run("resources/memory_hidden_from_proc", E.MEMORY_LIMIT_EXCEEDED, E.EXECUTION_ERROR),
    *(run(f"resources/{name}", E.MEMORY_LIMIT_EXCEEDED, None, **MEMORY) for name in UNSEEN),
    *(
        run(f"resources/{name}", E.MEMORY_LIMIT_EXCEEDED, None, **MEMORY)
        for name in COUNTED_BY_PROCESS
    ),
    # On a disk, where there is no mount namespace.
    run("resources/names_of_files", None, E.DISK_LIMIT_EXCEEDED, **DISK),
    run(
        "resources/slow_to_measure",
        None,
        E.MEMORY_LIMIT_EXCEEDED,
        variants={"mappings": (E.MEMORY_LIMIT_EXCEEDED,)},
        **MEMORY,
    ),
    run("resources/memory_error", E.MEMORY_LIMIT_EXCEEDED, **MEMORY),
    run("resources/memory_backed_files"),
    run("resources/device_shm", None, E.DISK_LIMIT_EXCEEDED, **DISK),
    run("resources/huge_file", E.DISK_LIMIT_EXCEEDED, **DISK),
    run("resources/sparse_file", E.DISK_LIMIT_EXCEEDED, **DISK),
    run("resources/many_small_files", E.DISK_LIMIT_EXCEEDED, **DISK),
    run("resources/many_empty_files", E.DISK_LIMIT_EXCEEDED, **DISK),
    run("resources/spin", E.CPU_LIMIT_EXCEEDED, **CPU),
    run("resources/spin_in_threads", E.CPU_LIMIT_EXCEEDED, **CPU),
    run("resources/spin_in_children", E.CPU_LIMIT_EXCEEDED, **CPU),
    run("resources/spin_in_uncounted_children", E.CPU_LIMIT_EXCEEDED, **CPU),
    run("resources/spin_in_orphans", E.CPU_LIMIT_EXCEEDED, **CPU),
    run("resources/spin_in_short_threads", E.CPU_LIMIT_EXCEEDED, **CPU),
    run("resources/spin_and_stop", E.CPU_LIMIT_EXCEEDED, **CPU),
    run("resources/spin_in_the_kernel", E.CPU_LIMIT_EXCEEDED, **CPU),
    run("resources/sleep", E.TIME_LIMIT_EXCEEDED, details=limit("wall_seconds")),
    run("resources/signal_storm"),
    run("resources/output_flood"),
    run("resources/log_flood"),
    run("resources/processes", E.PROCESS_LIMIT_EXCEEDED, details=limit("processes")),
    run("resources/threads", E.PROCESS_LIMIT_EXCEEDED, details=limit("threads")),
    run("resources/descriptors", E.EXECUTION_ERROR, details={"errno": 24}),
    run("resources/descriptors_all_used"),
    reply("resources/large_reply", E.OUTPUT_LIMIT_EXCEEDED, details=limit("output_mb")),
    run("resources/raised_limits"),
    run("resources/core_dump", E.PLUGIN_CRASHED, details={"signal": "SIGQUIT"}),
    run("resources/core_dump_asked_for", E.PLUGIN_CRASHED, details={"signal": "SIGABRT"}),
)

PYTHON = (
    run("python/segfault", E.PLUGIN_CRASHED, details={"signal": "SIGSEGV"}),
    run("python/abort", E.PLUGIN_CRASHED, details={"signal": "SIGABRT"}),
    run("python/recursion", E.EXECUTION_ERROR, details={"exception": "RecursionError"}),
    run(
        "python/unbounded_recursion",
        E.PLUGIN_CRASHED,
        E.EXECUTION_ERROR,
        E.MEMORY_LIMIT_EXCEEDED,
        E.CPU_LIMIT_EXCEEDED,
    ),
    run("python/exits", E.EXECUTION_ERROR, details={"exception": "SystemExit"}),
    run("python/raises", E.EXECUTION_ERROR),
    run("python/odd_exception", E.EXECUTION_ERROR),
    run("python/exception_that_hangs", E.TIME_LIMIT_EXCEEDED, details=limit("wall_seconds")),
    run("python/exception_its_own_cause", E.EXECUTION_ERROR, details={"exception": "ValueError"}),
    run("python/atexit_hangs"),
    run("python/thread_goes_on"),
    run("python/finalizer_hangs"),
    reply("python/result_fails", E.OUTPUT_VALIDATION_ERROR),
    reply("python/result_never_ends", E.CPU_LIMIT_EXCEEDED, E.MEMORY_LIMIT_EXCEEDED),
    reply("python/result_hangs", E.TIME_LIMIT_EXCEEDED, details=limit("wall_seconds")),
    reply("python/result_is_no_json", E.OUTPUT_VALIDATION_ERROR),
    run("python/json_replaced", result={"forged": 1}),
    run("python/functions_replaced", variants={"getpid": (E.PLUGIN_CRASHED, None)}),
    run("python/socket_replaced", None, E.PLUGIN_CRASHED, E.PROTOCOL_ERROR),
    run("python/modules_gone", None, E.PLUGIN_CRASHED),
    run("python/builtins_gone", None, E.PLUGIN_CRASHED, E.EXECUTION_ERROR, E.PROTOCOL_ERROR),
    run("python/stdout_replaced"),
    run("python/tracer"),
    run("python/interpreter_overwritten", E.PLUGIN_CRASHED, E.EXECUTION_ERROR),
)

L = E.PLUGIN_LOAD_ERROR
IMPORTS = (
    load("imports/hang", L, details=limit("load_seconds")),
    load("imports/constructor_hangs", L, details=limit("load_seconds")),
    load("imports/nothing_to_run", L, details={"exception": "TypeError"}),
    load("imports/exit", L, details={"exit_code": 0}),
    load("imports/sys_exit", L, details={"exception": "SystemExit"}),
    load("imports/segfault", L, details={"signal": "SIGSEGV"}),
    load("imports/fork", **RAN),
    load("imports/children_stay", **RAN),
    load("imports/flood", **RAN),
    load("imports/threads", **RAN),
    load("imports/half_the_limit", **RAN),
    load("imports/memory", E.MEMORY_LIMIT_EXCEEDED, **MEMORY),
    load("imports/page_tables", E.MEMORY_LIMIT_EXCEEDED, None, **MEMORY),
    load("imports/shared_memory_let_go", E.MEMORY_LIMIT_EXCEEDED, None, **MEMORY),
    load("imports/mappings", E.MEMORY_LIMIT_EXCEEDED, **MEMORY),
    load("imports/first_thread_ended", E.MEMORY_LIMIT_EXCEEDED, None, **MEMORY),
    load("imports/processes", E.PROCESS_LIMIT_EXCEEDED, details=limit("processes")),
    load("imports/spin", L, E.CPU_LIMIT_EXCEEDED),
    load("imports/closes_the_channel", E.PROTOCOL_ERROR, E.PLUGIN_CRASHED, L),
    load("imports/closes_descriptors", E.PROTOCOL_ERROR, E.PLUGIN_CRASHED, L),
    load("imports/forges_confined", E.PROTOCOL_ERROR),
    # It is loaded all the same, unless nobody listens any more when it says so itself.
    load("imports/forges_loaded", E.PROTOCOL_ERROR, warm=(None, E.PROTOCOL_ERROR), **RAN),
    load("imports/replies_early", E.PROTOCOL_ERROR),
    load("imports/forges_a_setup_failure", E.PROTOCOL_ERROR),
    load("imports/stops_itself", L, details=limit("load_seconds")),
    load("imports/fork_hook_fails", **RAN),
    load("imports/fork_hook_ends_cells", **RAN),
    load("imports/breaks_importing", **RAN),
    load("imports/replaces_streams_and_modules", None, L),
    load("imports/attacks_its_own_file"),
    load("imports/keeps_a_descriptor"),
    load("imports/keeps_shared_memory", None, E.PLUGIN_LOAD_ERROR),
    load("imports/keeps_a_pipe"),
    load("imports/keeps_a_position"),
    load("imports/keeps_caches"),
    load("imports/watches_its_calls", **RAN),
    load("imports/talks_to_the_warden", E.PROTOCOL_ERROR, None),
    load("imports/kills_itself_later", **RAN),
    load("imports/forks_later", **RAN),
    load("imports/never_answers_again", None, E.TIME_LIMIT_EXCEEDED, E.CPU_LIMIT_EXCEEDED),
)

ESCAPE = (
    run("escape/files"),
    run("escape/file_attributes"),
    run("escape/watching_files"),
    run("escape/watching_folders"),
    run("escape/locks"),
    run("escape/leases"),
    run("escape/file_flags"),
    run("escape/shared_quotas"),
    run("escape/kernel_objects"),
    run("escape/mailboxes"),
    run("escape/supervisors"),
    run("escape/secrets"),
    run("escape/network"),
    run("escape/socket_pairs"),
    run("escape/environment"),
    run("escape/environments_of_others"),
    run("escape/other_processes"),
    run("escape/namespaces"),
    run("escape/kernel_surface"),
    run("escape/terminals"),
    run("escape/regained_rights"),
    run("escape/setuid_programs"),
    run("escape/inherited_descriptors"),
    run("escape/standard_input"),
    run("escape/traps_for_the_cleaner"),
)

ROWS = (*CHANNEL, *TREE, *RESOURCES, *PYTHON, *IMPORTS, *ESCAPE)
