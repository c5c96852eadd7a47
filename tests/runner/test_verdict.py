"""Verdicts: every way a call can end, and what it comes to; the first cause decides."""

import errno
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolrunner.runner.errors import ErrorType
from toolrunner.runner.verdict import judge
from toolrunner.sandbox.ending import (
    HOST_MEANS,
    Ending,
    LimitHit,
    Raised,
    Reply,
    Returned,
    SetupFailure,
    Stage,
    Unserializable,
)
from toolrunner.sandbox.limits import LIMIT_NAMES

E = ErrorType
SETUP = SetupFailure("unshare", "not permitted", errno.EPERM, "allow user namespaces")
MEMORY = LimitHit("memory_mb", 128, 131)
BODY = b'{"a": 1}'
ANSWER = Returned(BODY)


def ending(stage: Stage = Stage.RUN, /, **facts: object) -> Ending:
    """Return an ending with these facts."""
    return replace(Ending(stage), **facts)  # type: ignore[arg-type]  # the test names real fields


def raised(exception: str = "ValueError", **facts: object) -> Raised:
    """Return a reply that tells of an exception."""
    return replace(Raised(exception, "why", "Traceback …"), **facts)  # type: ignore[arg-type]  # as above


def refused(exception: str, **facts: object) -> Raised:
    """Return a reply that tells of an exception by which the plugin blames its caller."""
    return raised(exception, blames_caller=True, **facts)


def expected(facts: dict[str, object]) -> ErrorType | None:
    """Return what the order of the contract says, written down a second time as prose is read."""
    reply = facts["reply"]
    final = reply is not None and not facts["protocol_error"]
    if facts["setup"]:
        return E.SANDBOX_ERROR
    if facts["cancelled"]:
        return E.CANCELLED
    if facts["limit"]:
        return E.MEMORY_LIMIT_EXCEEDED
    died = E.PLUGIN_LOAD_ERROR if facts["stage"] is Stage.LOAD else E.PLUGIN_CRASHED
    if facts["signal"] and not facts["killed"] and not final:
        return died
    if facts["protocol_error"]:
        return E.PROTOCOL_ERROR
    if reply is None and (facts["exit_code"] is not None or facts["killed"]):
        return died
    if reply is None:
        return E.PLUGIN_CRASHED
    if isinstance(reply, Returned):
        return None
    if isinstance(reply, Unserializable):
        return E.OUTPUT_VALIDATION_ERROR
    return E.PLUGIN_LOAD_ERROR if facts["stage"] is Stage.LOAD else E.EXECUTION_ERROR


CAUSES: dict[str, tuple[object, ...]] = {
    "stage": (Stage.LOAD, Stage.RUN),
    "setup": (None, SETUP),
    "cancelled": (False, True),
    "limit": (None, MEMORY),
    "signal": (None, "SIGSEGV"),
    "exit_code": (None, 0),
    "killed": (False, True),
    "protocol_error": (None, "two frames"),
    "reply": (None, ANSWER, Unserializable("a set"), raised()),
}


def test_first_cause_decides_in_every_combination() -> None:
    """All combinations of causes: judged by the first in the contract's order."""
    for values in product(*CAUSES.values()):
        facts = dict(zip(CAUSES, values, strict=True))
        assert judge(Ending(**facts)).error_type == expected(facts), facts  # type: ignore[arg-type]  # names of fields


def test_setup_failure_carries_operation_errno_and_remedy() -> None:
    """Who runs the host learns what was tried, how it failed and what to do."""
    outcome = judge(ending(Stage.SETUP, setup=SETUP))
    assert outcome.error_type is E.SANDBOX_ERROR
    assert outcome.message == "unshare: not permitted; allow user namespaces"
    assert outcome.details == {
        "operation": "unshare",
        "errno": errno.EPERM,
        "remedy": "allow user namespaces",
    }


@pytest.mark.parametrize(
    ("name", "configured", "observed", "error_type", "message"),
    [
        ("wall_seconds", 2.0, 2.01, E.TIME_LIMIT_EXCEEDED, "ran longer than 2 s"),
        ("load_seconds", 30.0, 30.1, E.PLUGIN_LOAD_ERROR, "took longer than 30 s to load"),
        ("cpu_seconds", 0.5, 0.61, E.CPU_LIMIT_EXCEEDED, "used 0.61 s of 0.5 s of processor time"),
        ("memory_mb", 128, 131, E.MEMORY_LIMIT_EXCEEDED, "used 131 MiB of 128 MiB"),
        ("memory_mb", 128, 128.001, E.MEMORY_LIMIT_EXCEEDED, "used more than 128 MiB"),
        ("memory_mb", 1024, 2000.5, E.MEMORY_LIMIT_EXCEEDED, "used 2000.5 MiB of 1024 MiB"),
        ("processes", 32, 33, E.PROCESS_LIMIT_EXCEEDED, "had 33 processes of 32 processes"),
        ("threads", 64, 70, E.PROCESS_LIMIT_EXCEEDED, "had 70 threads of 64 threads"),
        ("scratch_mb", 64, 65, E.DISK_LIMIT_EXCEEDED, "wrote 65 MiB of 64 MiB of scratch space"),
        ("output_mb", 16, 17, E.OUTPUT_LIMIT_EXCEEDED, "replied with 17 MiB of 16 MiB"),
        ("output_mb", 16, 16, E.OUTPUT_LIMIT_EXCEEDED, "replied with more than 16 MiB"),
    ],
)
def test_limit_names_itself_in_human_units(
    name: str, configured: float, observed: float, error_type: ErrorType, message: str
) -> None:
    """Type, words and figures of each limit that we enforce."""
    hit = LimitHit(name, configured, observed)
    outcome = judge(ending(limit=hit, killed=True, signal="SIGKILL"))
    assert (outcome.error_type, outcome.message) == (error_type, message)
    limit = {"name": name, "configured": configured, "observed": observed}
    assert outcome.details == {"limit": limit}


def test_limit_keeps_its_type_while_loading() -> None:
    """A plugin that eats its memory at import is told so, not that it failed to load."""
    outcome = judge(ending(Stage.LOAD, limit=MEMORY))
    assert outcome.error_type is E.MEMORY_LIMIT_EXCEEDED
    assert outcome.message == "used 131 MiB of 128 MiB while loading"


def test_unknown_limit_is_our_own_bug() -> None:
    """A limit that nobody enforces cannot be the plugin's fault."""
    assert judge(ending(limit=LimitHit("moon_phase", 1, 2))).error_type is E.INTERNAL_ERROR


@pytest.mark.parametrize(
    ("facts", "stage", "error_type", "message"),
    [
        ({"signal": "SIGSEGV"}, Stage.RUN, E.PLUGIN_CRASHED, "died by SIGSEGV"),
        ({"signal": "SIGSEGV"}, Stage.LOAD, E.PLUGIN_LOAD_ERROR, "died by SIGSEGV while loading"),
        (
            {"exit_code": 0},
            Stage.RUN,
            E.PLUGIN_CRASHED,
            "ended with exit status 0 without a reply",
        ),
        (
            {"exit_code": 3},
            Stage.LOAD,
            E.PLUGIN_LOAD_ERROR,
            "ended with exit status 3 without a reply while loading",
        ),
        ({"signal": "SIGXCPU"}, Stage.RUN, E.CPU_LIMIT_EXCEEDED, "used up its processor time"),
        ({"signal": "SIGXCPU"}, Stage.LOAD, E.CPU_LIMIT_EXCEEDED, "while loading"),
        ({"signal": "SIGKILL"}, Stage.RUN, E.PLUGIN_CRASHED, "out-of-memory killer"),
        (
            {"signal": "SIGKILL", "killed": True},
            Stage.RUN,
            E.PLUGIN_CRASHED,
            "killed by the runner",
        ),
        (
            {"signal": "SIGKILL", "from_outside": True},
            Stage.RUN,
            E.SANDBOX_ERROR,
            "something else than toolrunner and the plugin",
        ),
        (
            {"signal": "SIGKILL", "from_outside": True},
            Stage.LOAD,
            E.SANDBOX_ERROR,
            "was killed (SIGKILL) while loading",
        ),
        (
            {"signal": "SIGKILL", "from_outside": True, "host_ran_out": True},
            Stage.RUN,
            E.OVERLOADED,
            "the host has no memory left",
        ),
        ({"exit_code": 1}, Stage.SETUP, E.SANDBOX_ERROR, "exit status 1"),
        ({"signal": "SIGSEGV"}, Stage.SETUP, E.SANDBOX_ERROR, "died by SIGSEGV while it was set"),
        ({}, Stage.RUN, E.PLUGIN_CRASHED, "without a reply"),
    ],
)
def test_end_without_a_reply_says_how(
    facts: dict[str, object], stage: Stage, error_type: ErrorType, message: str
) -> None:
    """Signals and exit statuses are named, with the stage they came in."""
    outcome = judge(ending(stage, **facts))
    assert outcome.error_type is error_type
    assert message in outcome.message
    for name in ("signal", "exit_code"):
        assert outcome.details.get(name) == facts.get(name)


@pytest.mark.parametrize("stage", Stage)
def test_what_the_host_could_not_measure_is_the_hosts_fault(stage: Stage) -> None:
    """Not the plugin's, however far it had come; and it says what to do."""
    outcome = judge(ending(stage, limit=LimitHit(HOST_MEANS, 0, 0), killed=True))
    assert outcome.error_type is E.SANDBOX_ERROR
    assert outcome.details["operation"] == "measure the call"
    assert "raise its limits" in str(outcome.details["remedy"])
    assert outcome.limit == ""


@pytest.mark.parametrize(
    "afterwards",
    [
        {"signal": "SIGSEGV"},
        {"signal": "SIGKILL", "killed": True},
        {"exit_code": 1},
        {"signal": "SIGXCPU"},
    ],
)
def test_final_reply_outlives_how_the_process_ended(afterwards: dict[str, object]) -> None:
    """Crashing in atexit, or being killed after the answer, changes nothing."""
    assert judge(ending(reply=ANSWER, **afterwards)).result_body == BODY
    assert judge(ending(reply=raised(), **afterwards)).error_type is E.EXECUTION_ERROR


def test_bytes_after_the_first_frame_spoil_the_reply() -> None:
    """Two replies are no reply."""
    outcome = judge(ending(reply=ANSWER, protocol_error="2 frames", exit_code=0))
    assert (outcome.error_type, outcome.message) == (E.PROTOCOL_ERROR, "2 frames")


@pytest.mark.parametrize(
    ("reply", "error_type"),
    [
        (refused("InvalidInput"), E.VALIDATION_ERROR),
        (raised("MyInvalidInput"), E.EXECUTION_ERROR),
        (refused("BadPage"), E.VALIDATION_ERROR),
        (raised("MemoryError", is_memory_error=True), E.MEMORY_LIMIT_EXCEEDED),
        (raised("OSError", errno=errno.ENOMEM), E.MEMORY_LIMIT_EXCEEDED),
        (raised("ArrayMemoryError", is_memory_error=True), E.MEMORY_LIMIT_EXCEEDED),
        (refused("InvalidInput", is_memory_error=True), E.MEMORY_LIMIT_EXCEEDED),
        (raised("BlockingIOError", errno=errno.EAGAIN), E.PROCESS_LIMIT_EXCEEDED),
        (raised("OSError", errno=errno.EAGAIN), E.PROCESS_LIMIT_EXCEEDED),
        (raised("MyError", errno=errno.EAGAIN), E.EXECUTION_ERROR),
        (raised("RuntimeError", cannot_start_thread=True), E.PROCESS_LIMIT_EXCEEDED),
        (raised("OSError", errno=errno.ENOSPC), E.DISK_LIMIT_EXCEEDED),
        (raised("OSError", errno=errno.EDQUOT), E.DISK_LIMIT_EXCEEDED),
        (raised("OSError", errno=errno.EFBIG), E.DISK_LIMIT_EXCEEDED),
        (raised("FileNotFoundError", errno=errno.ENOENT), E.EXECUTION_ERROR),
        (raised("SystemExit"), E.EXECUTION_ERROR),
        (raised("KeyboardInterrupt"), E.EXECUTION_ERROR),
        (Unserializable('result["a"]: a set'), E.OUTPUT_VALIDATION_ERROR),
    ],
)
def test_reply_of_failure_gets_its_type(reply: Reply, error_type: ErrorType) -> None:
    """What the plugin raised or returned is told apart."""
    assert judge(ending(reply=reply)).error_type is error_type


@pytest.mark.parametrize(
    ("claims", "reached", "error_type", "number"),
    [
        ("scratch_mb", {"scratch_mb"}, E.DISK_LIMIT_EXCEEDED, errno.ENOSPC),
        ("scratch_mb", {"processes"}, E.EXECUTION_ERROR, None),
        ("processes", {"processes", "scratch_mb"}, E.PROCESS_LIMIT_EXCEEDED, errno.EAGAIN),
        ("processes", set(), E.EXECUTION_ERROR, None),
        ("", {"processes", "scratch_mb"}, E.EXECUTION_ERROR, None),
        ("memory_mb", {"memory_mb"}, E.EXECUTION_ERROR, None),
    ],
)
def test_what_a_program_claims_counts_where_it_was_seen(
    claims: str, reached: set[str], error_type: ErrorType, number: int | None
) -> None:
    """Its words alone make no limit of it."""
    reply = raised("CommandError", claims=claims)
    outcome = judge(ending(reply=reply, reached=frozenset(reached)))
    assert (outcome.error_type, outcome.details.get("errno")) == (error_type, number)
    loading = judge(ending(Stage.LOAD, reply=reply, reached=frozenset(reached)))
    assert loading.error_type is E.PLUGIN_LOAD_ERROR


def test_a_thread_that_cannot_be_started_is_a_matter_of_threads() -> None:
    """And a process that cannot be forked one of processes, where nobody has taken a figure."""
    no_thread = raised("RuntimeError", cannot_start_thread=True)
    no_process = raised("BlockingIOError", errno=errno.EAGAIN)
    assert judge(ending(reply=no_thread)).limit == "threads"
    assert judge(ending(reply=no_thread, stage=Stage.LOAD)).limit == "threads"
    assert judge(ending(reply=no_process)).limit == "processes"
    assert judge(ending(reply=ANSWER)).limit == ""


@pytest.mark.parametrize("exception", ["ValueError", "InvalidInput", "OSError"])
def test_raising_while_loading_is_a_load_error(exception: str) -> None:
    """Before there was any input, no exception can blame it."""
    is_refusal = exception == "InvalidInput"
    reply = raised(exception, errno=errno.ENOSPC, blames_caller=is_refusal)
    outcome = judge(ending(Stage.LOAD, reply=reply))
    assert outcome.error_type is E.PLUGIN_LOAD_ERROR
    assert outcome.message == f"{exception}: why"
    full = judge(ending(Stage.LOAD, reply=replace(reply, is_memory_error=True)))
    assert full.error_type is E.MEMORY_LIMIT_EXCEEDED


def test_exception_is_quoted_with_class_message_and_traceback() -> None:
    """The envelope can say what happened and where."""
    outcome = judge(ending(reply=raised(), log_tail="last words"))
    assert outcome.message == "ValueError: why"
    assert outcome.details == {"exception": "ValueError", "log_tail": "last words"}
    assert outcome.traceback == "Traceback …"
    assert judge(ending(reply=raised(message=""))).message == "ValueError"


def test_invalid_input_speaks_to_the_caller_in_its_own_words() -> None:
    """Only the plugin knows what was wrong with the input."""
    assert judge(ending(reply=refused("InvalidInput"))).message == "why"
    assert judge(ending(reply=refused("InvalidInput", message=""))).message


TEXT = st.text(max_size=10)
MAYBE_ERRNO = st.none() | st.integers()
REPLIES = (
    st.none()
    | st.builds(Returned, st.binary(max_size=10))
    | st.builds(Unserializable, TEXT)
    | st.builds(Raised, TEXT, TEXT, TEXT, MAYBE_ERRNO, st.booleans(), st.booleans())
)
LIMITS = st.builds(LimitHit, st.sampled_from(LIMIT_NAMES) | TEXT, st.floats(), st.floats())
ENDINGS = st.builds(
    Ending,
    stage=st.sampled_from(Stage),
    setup=st.none() | st.builds(SetupFailure, TEXT, TEXT, MAYBE_ERRNO, TEXT),
    cancelled=st.booleans(),
    limit=st.none() | LIMITS,
    signal=st.none() | TEXT,
    exit_code=st.none() | st.integers(),
    killed=st.booleans(),
    protocol_error=st.none() | TEXT,
    reply=REPLIES,
    log_tail=TEXT,
    details=st.dictionaries(TEXT, TEXT, max_size=2),
)


@settings(max_examples=500)
@given(ENDINGS)
def test_every_ending_has_exactly_one_outcome(any_ending: Ending) -> None:
    """No combination raises, and each is either a result or an error that says something."""
    outcome = judge(any_ending)
    assert (outcome.result_body is None) != (outcome.error_type is None)
    assert judge(any_ending) == outcome or any_ending.limit is not None  # NaN is not itself
    if outcome.error_type is not None and any_ending.log_tail:
        assert outcome.details["log_tail"] == any_ending.log_tail


def test_who_maps_shared_memory_is_told_what_to_write_instead() -> None:
    """Python's default is denied where no cgroup counts it; other denials get no such advice."""
    line = '  File "p.py", line 3, in run\n    area = mmap.mmap(-1, n)\nPermissionError: x\n'
    denied = raised("PermissionError", errno=errno.EPERM, traceback="Traceback …\n" + line)
    told = judge(ending(reply=denied))
    assert "mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS" in told.message
    assert told.error_type is E.EXECUTION_ERROR
    for other in (replace(denied, errno=errno.ENOMEM), replace(denied, traceback="  os.chmod(p)")):
        assert "MAP_PRIVATE" not in judge(ending(reply=other)).message
