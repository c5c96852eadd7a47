"""Any process of a resident may be killed at any moment: nothing is left, no other call is lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import PATIENCE_SECONDS, has_ended, value, wait_until, wardens
from toolrunner import Call, ToolRunner
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.modes.resident import ResidentLimits

# It says where it is by a file, and goes on when there is another one.
SOURCE = """
    import os, time
    from pathlib import Path

    GATES = Path({gates!r})

    def stop_at(place):
        if (GATES / place).exists():
            while (GATES / place).exists():
                time.sleep(0.01)

    stop_at("load")

    def run(payload, context):
        if payload.get("stop"):
            context.progress(0.5, "running")
            stop_at("call")
        return {{"number": payload.get("number"), "process": os.getppid()}}

    def run_batch(payloads, context):
        return [run(payload, context) for payload in payloads]
"""
VICTIMS: dict[str, Callable[[psutil.Process], list[psutil.Process]]] = {
    "warden": lambda warden: [warden],
    "zygote": lambda warden: warden.children()[:1],
    "cell": lambda warden: warden.children()[-1:],
    "all of them": lambda warden: [warden, *warden.children(recursive=True)],
}


def kill(processes: list[psutil.Process]) -> None:
    """End processes as from outside, and wait for that."""
    for process in processes:
        # One that was killed may take the next with it.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: all(has_ended(process) for process in processes), "they have ended")


@pytest.fixture
def gates(open_folder: Path) -> Path:
    """A folder with files that hold the plugin up: "load" and "call"."""
    return open_folder


@pytest.fixture
def runner(
    gates: Path, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> ToolRunner:
    """A runner with up to two residents of one plugin."""
    plugin = write_plugin(
        SOURCE.format(gates=str(gates)), start='"resident"', batch="4", read=f'["{gates}"]'
    )
    return make_runner(
        plugin,
        layers=layers,
        allow_resident=["sample"],
        plugin={"sample": {"read": [str(gates)]}},
        residents=ResidentLimits(each=2),
    )


def is_clean(before: set[int]) -> bool:
    """Tell whether this process has no more children than before, but for launchers that wait."""
    return [w for w in wardens() if w.pid not in before] == []


@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_while_it_is_idle(victim: str, runner: ToolRunner) -> None:
    """The next call does not notice."""
    value(runner.run("sample", {}))
    (warden,) = wardens()
    kill(VICTIMS[victim](warden))
    assert value(runner.run("sample", {"number": 1}))["number"] == 1
    runner.close()
    assert is_clean(set())


@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_while_a_call_runs(victim: str, runner: ToolRunner, gates: Path) -> None:
    """That call has failed, unless what was killed is none of its own; the others go on."""
    (gates / "call").touch()
    reached = threading.Event()
    answers = []
    first = threading.Thread(
        target=lambda: answers.append(
            runner.run("sample", {"stop": True}, call=Call(on_progress=lambda *_: reached.set()))
        )
    )
    first.start()
    assert reached.wait(PATIENCE_SECONDS)
    (warden,) = wardens()
    assert value(runner.run("sample", {"number": 1}))["number"] == 1  # in the other resident
    kill(VICTIMS[victim](warden))
    (gates / "call").unlink()
    first.join()
    assert [value(runner.run("sample", {"number": n}))["number"] for n in range(4)] == [0, 1, 2, 3]
    ((result, error),) = answers
    assert (result is None) != (error is None)
    assert (error is None) == (victim == "zygote")
    runner.close()
    assert is_clean(set())


@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_while_it_loads(victim: str, runner: ToolRunner, gates: Path) -> None:
    """The call that waits for it fails or begins anew; the next one is served."""
    (gates / "load").touch()
    answers = []
    first = threading.Thread(target=lambda: answers.append(runner.run("sample", {"number": 7})))
    first.start()
    wait_until(lambda: any(len(w.children()) > 1 for w in wardens()), "a cell is being loaded")
    (warden,) = wardens()
    kill(VICTIMS[victim](warden))
    (gates / "load").unlink()
    first.join()
    assert len(answers) == 1
    assert value(runner.run("sample", {"number": 1}))["number"] == 1
    runner.close()
    assert is_clean(set())


@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_while_the_next_one_loads(victim: str, runner: ToolRunner, gates: Path) -> None:
    """Calls are served by the old one, and another is loaded."""
    value(runner.run("sample", {"number": 1}))
    (old,) = wardens()
    (gates / "load").touch()
    (gates / "call").touch()
    reached = threading.Event()
    calls = [
        threading.Thread(
            target=lambda: value(
                runner.run(
                    "sample", {"stop": True}, call=Call(on_progress=lambda *_: reached.set())
                )
            )
        ),
        threading.Thread(target=lambda: runner.run("sample", {"number": 2})),
    ]
    calls[0].start()
    assert reached.wait(PATIENCE_SECONDS)
    calls[1].start()  # the first one is busy, so another one is loaded for it
    wait_until(
        lambda: any(len(w.children()) > 1 for w in wardens() if w.pid != old.pid),
        "the next one is being loaded",
    )
    (new,) = [warden for warden in wardens() if warden.pid != old.pid]
    kill(VICTIMS[victim](new))
    (gates / "load").unlink()
    (gates / "call").unlink()
    for call in calls:
        call.join()
    assert not has_ended(old)
    assert value(runner.run("sample", {"number": 3}))["number"] == 3
    runner.close()
    assert is_clean(set())


def test_killing_at_random_loses_no_call_but_its_own(runner: ToolRunner) -> None:
    """Each call has one answer, and nothing is left."""
    over = threading.Event()
    served: list[int] = []

    def killing() -> None:
        while not over.wait(0.1):
            for warden in wardens()[:1]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    kill(VICTIMS["cell"](warden))

    killer = threading.Thread(target=killing)
    killer.start()
    payloads = ({"number": number} for number in range(300))
    lost = 0
    for index, result, error, _ in runner.map("sample", payloads):
        served.append(index)
        lost += error is not None
        assert result is None or result["number"] == index
    over.set()
    killer.join()
    assert sorted(served) == list(range(300))
    status = runner.registry.get_status("sample")
    assert status is not None
    assert (status.success_count, status.error_count, status.in_flight) == (300 - lost, lost, 0)
    assert value(runner.run("sample", {"number": 1}))["number"] == 1
    runner.close()
    assert is_clean(set())
