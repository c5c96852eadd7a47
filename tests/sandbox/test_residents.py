"""Residents: one process serves many calls, and no failed call harms the next one."""

from __future__ import annotations

import threading
from pathlib import Path

import psutil
import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import has_ended, mode_of, value, wait_until, wardens
from toolrunner import Call, ToolRunner
from toolrunner.sandbox.ending import Replaced
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.modes.resident import ResidentLimits

SOURCE = """
    import os, sys, threading, time
    calls = [0]
    kept = []

    def raises():
        raise ValueError("no")

    class InvalidInput(Exception):
        pass

    class BadPage(InvalidInput):
        pass

    def refuses():
        raise BadPage("not this")

    def leaves_a_child():
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)

    def leaves_a_file_open():
        kept.append(open("open", "w"))

    def leaves_a_file():
        with open("file", "w") as file:
            file.write("text")

    def leaves_a_nameless_file():
        kept.append(open("open", "w+"))
        kept[-1].write("x" * 5000)
        os.unlink("open")

    def leaves_a_file_beside():
        with open("../beside", "w") as file:
            file.write("text")

    def makes_its_scratch_anew():
        here = os.getcwd()
        os.rmdir(here)
        os.mkdir(here)
        os.chdir(here)

    def removes_its_scratch():
        os.rmdir(os.getcwd())
        os.chdir("/")

    def hangs():
        time.sleep(600)

    def spins():
        while True:
            pass

    def takes_memory():
        for _ in range(400):
            kept.append(bytearray(1 << 20))

    def ends():
        os._exit(0)

    def kills_itself():
        os.kill(os.getpid(), 9)

    def run(payload, context):
        calls[0] += 1
        if payload.get("tells"):
            context.progress(0.5)
        if "do" in payload:
            globals()[payload["do"]]()
        beside = os.listdir("..") if os.getcwd() != "/" else []
        return {
            "process": os.getppid(),
            "calls": calls[0],
            "files": os.listdir() if beside else [],
            "beside": len(beside),
        }
"""
LIMITS = "{ wall_seconds = 20, cpu_seconds = 1, memory_mb = 64 }"
ONE = ResidentLimits(each=1)


@pytest.fixture
def runner(write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers) -> ToolRunner:
    """A runner with one resident plugin, of which there is one process at a time."""
    plugin = write_plugin(SOURCE, start='"resident"', limits=LIMITS)
    return make_runner(plugin, layers=layers, allow_resident=["sample"], residents=ONE)


def calls_of(runner: ToolRunner) -> int:
    """Return how many calls the process of a call has served with it."""
    return int(value(runner.run("sample", {}))["calls"])


def test_one_process_serves_call_after_call(runner: ToolRunner) -> None:
    """It keeps what it has in memory, and says so."""
    assert [calls_of(runner) for _ in range(3)] == [1, 2, 3]
    assert mode_of(runner) == "resident"


FAILURES = {
    "raises": "ExecutionError",
    "ends": "PluginCrashed",
    "kills_itself": "PluginCrashed",
    "hangs": "TimeLimitExceeded",
    "spins": "CpuLimitExceeded",
    "takes_memory": "MemoryLimitExceeded",
}


@pytest.mark.parametrize("how", FAILURES)
def test_a_failed_call_ends_its_process_and_not_the_next_call(how: str, runner: ToolRunner) -> None:
    """The next one begins with a plugin that has been loaded anew."""
    assert calls_of(runner) == 1
    _, error = runner.run("sample", {"do": how})
    assert error is not None
    assert error["error"]["type"] == FAILURES[how]
    assert error["error"]["details"]["isolation"]["mode"] == "resident"
    assert calls_of(runner) == 1


def test_input_that_the_plugin_refuses_costs_no_process(runner: ToolRunner) -> None:
    """Or a caller could make every call pay for a load."""
    assert calls_of(runner) == 1
    _, error = runner.run("sample", {"do": "refuses"})
    assert error is not None
    assert error["error"]["type"] == "ValidationError"
    assert calls_of(runner) == 3


@pytest.mark.parametrize("what", ["leaves_a_child", "leaves_a_file_open"])
def test_what_a_call_leaves_behind_ends_its_process(what: str, runner: ToolRunner) -> None:
    """The call itself has succeeded."""
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    assert value(runner.run("sample", {"do": what}))["calls"] == 1
    assert calls_of(runner) == 1
    runner.close()
    after = psutil.Process().children(recursive=True)
    assert [p for p in after if p.pid not in before and not has_ended(p)] == []


def test_each_call_has_an_empty_scratch(runner: ToolRunner) -> None:
    """In the same process, with the same working directory."""
    assert value(runner.run("sample", {"do": "leaves_a_file"}))["files"] == ["file"]
    answer = value(runner.run("sample", {}))
    assert (answer["calls"], answer["files"]) == (2, [])


@pytest.mark.parametrize(
    "what",
    [
        "leaves_a_nameless_file",
        "leaves_a_file_beside",
        "makes_its_scratch_anew",
        "removes_its_scratch",
    ],
)
def test_whatever_a_call_does_with_its_scratch_the_next_one_is_empty(
    what: str, write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """In the same process, where that goes, or in another."""
    if "mount" not in host_layers.namespaces:
        pytest.skip("this kernel gives this user no mount namespace (CLONE_NEWNS is refused)")
    plugin = write_plugin(SOURCE, start='"resident"', limits=LIMITS)
    runner = make_runner(plugin, layers=host_layers, allow_resident=["sample"], residents=ONE)
    for _ in range(3):
        value(runner.run("sample", {"do": what}))
        answer = value(runner.run("sample", {}))
        assert (answer["files"], answer["beside"]) == ([], 1)


KEEPS_A_LOCK = """
    import multiprocessing, os
    lock = multiprocessing.Lock()
    calls = [0]

    def run(payload):
        with lock:
            calls[0] += 1
        if payload.get("grow"):
            open("/dev/shm/file", "wb").write(b"x" * payload["grow"])
        return {"calls": calls[0], "files": os.listdir("/dev/shm")}
"""


def test_a_lock_that_its_load_made_costs_no_process(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """It lies, without a name, in the scratch of the load; each call has one of its own."""
    if "mount" not in host_layers.namespaces:
        pytest.skip("this kernel gives this user no namespaces (CLONE_NEWUSER is refused)")
    plugin = write_plugin(KEEPS_A_LOCK, start='"resident"')
    runner = make_runner(plugin, layers=host_layers, residents=ONE, allow_resident=["*"])
    for count in (1, 2, 3):
        answer = value(runner.run("sample", {"grow": 1 << 20}))
        assert answer == {"calls": count, "files": ["file"]}


def test_usage_is_the_calls_own(runner: ToolRunner) -> None:
    """Processor time is counted by difference."""
    call = Call()
    runner.run("sample", {"do": "spins"}, call=call)
    assert call.usage.cpu_ms > 900
    value(runner.run("sample", {}))
    call = Call()
    value(runner.run("sample", {}, call=call))
    assert call.usage.cpu_ms < 500
    assert call.usage.peak_memory_bytes > 0


LATE = """
    import threading
    late = []

    def run(payload, context):
        if late:
            tell, told = late.pop()
            tell.set()
            told.wait()
        else:
            tell, told = threading.Event(), threading.Event()
            def speak():
                tell.wait()
                try:
                    context.progress(0.9, "late")
                    context._channel.sendall(b"R\\0\\0\\0\\x0c{\\"late\\": true}")
                except OSError:
                    pass
                told.set()
            threading.Thread(target=speak, daemon=True).start()
            late.append((tell, told))
        print("printed by", payload["number"])
        return {"number": payload["number"]}
"""


def test_a_late_thread_cannot_answer_for_another_call(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """What it holds of its own call leads nowhere any more."""
    plugin = write_plugin(LATE, start='"resident"')
    runner = make_runner(plugin, layers=layers, allow_resident=["*"], residents=ONE)
    assert value(runner.run("sample", {"number": 1})) == {"number": 1}
    heard: list[str] = []
    call = Call(on_progress=lambda _fraction, message: heard.append(message))
    assert value(runner.run("sample", {"number": 2}, call=call)) == {"number": 2}
    assert heard == []
    assert call.log_tail == "printed by 2\n"


def test_without_the_operators_word_it_runs_cold(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """And says what to set."""
    runner = make_runner(write_plugin(SOURCE, start='"resident"'))
    assert mode_of(runner) == "cold"
    assert 'add "sample" to allow_resident' in str(runner.start("sample"))


@pytest.mark.parametrize(("per", "processes"), [("caller", 2), ("plugin", 1)])
def test_callers_share_a_process_only_if_the_operator_says_so(
    per: str, processes: int, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """By default no process serves two callers."""
    runner = make_runner(
        write_plugin(SOURCE, start='"resident"'),
        allow_resident=["sample"],
        residents=ONE,
        resident_per=per,
    )
    served = [
        value(runner.run("sample", {}, call=Call(caller=caller)))["calls"]
        for caller in ("one", "other", "one", "other")
    ]
    assert served == ([1, 1, 2, 2] if processes == 2 else [1, 2, 3, 4])


def test_a_resident_is_replaced_after_so_many_calls(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """No call fails for it."""
    runner = make_runner(
        write_plugin(SOURCE, start='"resident"'),
        allow_resident=["sample"],
        residents=ResidentLimits(each=1, calls=5),
    )
    served = [calls_of(runner) for _ in range(12)]
    assert max(served) <= 5
    assert served.count(1) >= 3


def test_a_resident_is_replaced_when_the_plugin_changes(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """The first call after it has the new one."""
    source = "def run(payload):\n    return {'version': %d}\n"
    runner = make_runner(
        write_plugin(source % 1, start='"resident"'), allow_resident=["sample"], residents=ONE
    )
    assert value(runner.run("sample", {})) == {"version": 1}
    write_plugin(source % 2, start='"resident"')
    assert value(runner.run("sample", {})) == {"version": 2}
    wait_until(lambda: len(wardens()) == 1, "the old one has ended")


def test_an_idle_resident_is_closed(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """And the next call has a new one."""
    runner = make_runner(
        write_plugin(SOURCE, start='"resident"'),
        allow_resident=["sample"],
        residents=ResidentLimits(idle_seconds=0.2),
    )
    assert calls_of(runner) == 1
    wait_until(lambda: wardens() == [], "it is closed")
    assert calls_of(runner) == 1


BETWEEN = {
    "processor time": "        while True:\n            pass\n",
    "memory": "        kept.append(b'x' * (66 << 20))\n        time.sleep(600)\n",
    "processes": "        os.fork() or time.sleep(600)\n        time.sleep(600)\n",
}


@pytest.mark.parametrize("what", BETWEEN)
def test_what_works_on_between_calls_is_replaced(
    what: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Nobody has asked for it, and no call's limits would meet it."""
    source = (
        "import os, threading, time\nkept, over = [], threading.Event()\n"
        "def later():\n    over.wait()\n    time.sleep(0.2)\n    if True:\n"
        f"{BETWEEN[what]}"
        "threading.Thread(target=later, daemon=True).start()\n"
        "def run(payload):\n    over.set()\n    return {}\n"
    )
    plugin = write_plugin(source, start='"resident"', limits="{ memory_mb = 64 }")
    runner = make_runner(plugin, layers=layers, allow_resident=["sample"], residents=ONE)
    value(runner.run("sample", {}))
    wait_until(lambda: wardens() == [], "it is ended")


def test_calls_wait_for_a_resident_and_can_be_cancelled(runner: ToolRunner) -> None:
    """One that waits is withdrawn at once; the one that runs, with its process."""
    calls_of(runner)
    first, second = Call(), Call()
    answers = []
    threads = [
        threading.Thread(
            target=lambda call=call: answers.append(
                runner.run("sample", {"do": "hangs"}, call=call)
            )
        )
        for call in (first, second)
    ]
    for thread in threads:
        thread.start()
    for call in (second, first):
        call.cancel()
    for thread in threads:
        thread.join()
    assert [error["error"]["type"] for _, error in answers if error] == ["Cancelled"] * 2
    assert calls_of(runner) in {1, 2}


def test_a_call_that_is_cancelled_has_not_failed(runner: ToolRunner) -> None:
    """Its process goes with it, and the figures say why."""
    reached = threading.Event()
    call = Call(on_progress=lambda _fraction, _message: reached.set())
    hanging = threading.Thread(
        target=lambda: runner.run("sample", {"do": "hangs", "tells": True}, call=call)
    )
    hanging.start()
    assert reached.wait(60)
    call.cancel()
    hanging.join()
    assert runner.residents()["sample"].replaced == {Replaced.CANCELLED: 1}


def test_killing_a_resident_loses_no_call_but_its_own(runner: ToolRunner) -> None:
    """While it is idle: none at all."""
    assert calls_of(runner) == 1
    (warden,) = wardens()
    killed = warden.children(recursive=True)
    for process in killed:
        process.kill()
    wait_until(lambda: all(has_ended(process) for process in killed), "they have ended")
    assert calls_of(runner) == 1
    wait_until(lambda: len(wardens()) == 1, "the old box is gone")
    (warden,) = wardens()
    warden.kill()
    wait_until(lambda: has_ended(warden), "it has ended")
    assert calls_of(runner) == 1


def test_nothing_is_left_of_a_closed_runner(runner: ToolRunner, tmp_path: Path) -> None:
    """Neither processes nor folders."""
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    calls_of(runner)
    runner.close()
    after = psutil.Process().children(recursive=True)
    assert [p for p in after if p.pid not in before and not has_ended(p)] == []
    assert tmp_path.exists()
