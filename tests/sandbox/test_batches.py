"""Batches: calls of one caller that a resident serves together, each with an outcome of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import value, wait_until
from toolrunner import Call, ToolRunner
from toolrunner.sandbox.ending import Replaced
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.modes.resident import ResidentLimits

SOURCE = """
    import os, time

    class InvalidInput(Exception):
        pass

    turns = [0]

    def spins():
        while True:
            pass

    def hangs():
        time.sleep(600)

    def ends():
        os._exit(3)

    def kills_itself():
        os.kill(os.getpid(), 9)

    def raises():
        raise ValueError("all of them")

    def run(payload, context):
        turns[0] += 1
        context.progress(0, "begun")
        while "gate" in payload and os.path.exists(payload["gate"]):
            time.sleep(0.01)
        return {"together": 1, "turn": turns[0], "number": payload.get("number")}

    def outcome(payload, count):
        what = payload.get("what")
        if what == "refused":
            return InvalidInput(f"not {payload['number']}")
        if what == "error":
            return ValueError(f"number {payload['number']}")
        if what == "no JSON":
            return {"a": object()}
        if what == "no object":
            return [1]
        return {"together": count, "turn": turns[0], "number": payload["number"]}

    def run_batch(payloads, context):
        turns[0] += 1
        print("printed by", len(payloads), flush=True)
        context.progress(0.5, "half")
        for payload in payloads:
            if "do" in payload:
                globals()[payload["do"]]()
        results = [outcome(payload, len(payloads)) for payload in payloads]
        if any(payload.get("what") == "too few" for payload in payloads):
            results.pop()
        if any(payload.get("what") == "nothing" for payload in payloads):
            return None
        if any(payload.get("what") == "a dict" for payload in payloads):
            return {str(number): {} for number in range(len(payloads))}
        for result, call_id in zip(results, context.call_ids):
            if isinstance(result, dict):
                result["call_id"] = call_id
        return results
"""
# One call holds the resident until all others are there: on a busy host that takes seconds.
KEYS = {
    "start": '"resident"',
    "batch": "8",
    "limits": "{ wall_seconds = 15, cpu_seconds = 2, memory_mb = 128 }",
}
Answer = tuple[Any, Any, Call]


@pytest.fixture
def gate(open_folder: Path) -> Path:
    """A file; as long as it is there, a call with its path as "gate" goes on."""
    return open_folder / "gate"


@pytest.fixture
def runner(
    gate: Path, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> ToolRunner:
    """A runner with one resident plugin that takes batches, and one process for it."""
    return make_runner(
        write_plugin(SOURCE, **KEYS),
        layers=layers,
        allow_resident=["sample"],
        plugin={"sample": {"read": [str(gate.parent)]}},
        residents=ResidentLimits(each=1),
    )


def together(
    runner: ToolRunner,
    gate: Path,
    payloads: list[dict[str, Any]],
    make_call: Callable[[int], Call] = lambda _number: Call(),
) -> list[Answer]:
    """Call a plugin with all of these at once; return what came of each, in order.

    They wait for the one resident, which another call has until all of them are there.
    """
    answers: list[Answer | None] = [None] * len(payloads)

    def run(number: int, call: Call) -> None:
        payload = {"number": number, **payloads[number]}
        answers[number] = (*runner.run("sample", payload, call=call), call)

    gate.touch()
    begun = threading.Event()  # until then the first call's own batch would take others along
    holding = Call(on_progress=lambda *_: begun.set())
    first = threading.Thread(
        target=runner.run, args=("sample", {"gate": str(gate)}), kwargs={"call": holding}
    )
    threads = [
        threading.Thread(target=run, args=(number, make_call(number)))
        for number in range(len(payloads))
    ]
    first.start()
    wait_until(begun.is_set, "the resident is busy")
    for thread in threads:
        thread.start()
    invalid = sum("bad" in payload for payload in payloads)
    wait_until(
        lambda: runner.residents()["sample"].waiting == len(payloads) - invalid, "all of them wait"
    )
    gate.unlink()
    for thread in (first, *threads):
        thread.join()
    return [answer for answer in answers if answer is not None]


def error_of(answer: Answer) -> str:
    """Return the type of a call's error, or "" for a success."""
    _, error, _ = answer
    return "" if error is None else str(error["error"]["type"])


def test_calls_that_wait_are_served_together(runner: ToolRunner, gate: Path) -> None:
    """Each has its own answer and id; what was used and printed is told with each."""
    answers = together(runner, gate, [{}] * 8)
    results = [value(answer[:2]) for answer in answers]
    assert {result["turn"] for result in results} == {2}
    assert [result["number"] for result in results] == list(range(8))
    assert [result["call_id"] for result in results] == [call.call_id for _, _, call in answers]
    assert {call.isolation.mode for _, _, call in answers} == {"resident"}
    assert {call.log_tail for _, _, call in answers} == {"printed by 8\n"}
    status = runner.registry.get_status("sample")
    assert status is not None
    assert (status.success_count, status.error_count, status.in_flight) == (9, 0, 0)


def test_progress_reaches_each_call(runner: ToolRunner, gate: Path) -> None:
    """In the thread of its own call."""
    heard: list[tuple[int, str, int]] = []

    def listening(number: int) -> Call:
        return Call(
            on_progress=lambda _fraction, message: heard.append(
                (number, message, threading.get_ident())
            )
        )

    together(runner, gate, [{}] * 8, listening)
    assert sorted(number for number, _, _ in heard) == list(range(8))
    assert {message for _, message, _ in heard} == {"half"}
    assert len({thread for _, _, thread in heard}) == 8


def test_a_call_that_is_alone_is_run_by_itself(runner: ToolRunner) -> None:
    """By ``run``, which every plugin has."""
    assert value(runner.run("sample", {"number": 1}))["together"] == 1


OUTCOMES = {
    "refused": "ValidationError",
    "error": "ExecutionError",
    "no JSON": "OutputValidationError",
    "no object": "OutputValidationError",
}


@pytest.mark.parametrize("what", OUTCOMES)
def test_one_outcome_harms_no_other(what: str, runner: ToolRunner, gate: Path) -> None:
    """An exception among the results is what came of that call alone."""
    answers = together(runner, gate, [{"what": what} if number == 3 else {} for number in range(8)])
    assert [error_of(answer) for answer in answers] == [""] * 3 + [OUTCOMES[what]] + [""] * 4
    if what in ("refused", "error"):
        assert "3" in answers[3][1]["error"]["message"]


FAILURES = {
    "raises": "ExecutionError",
    "ends": "PluginCrashed",
    "kills_itself": "PluginCrashed",
    "hangs": "TimeLimitExceeded",
    "spins": "TimeLimitExceeded",
}


@pytest.mark.parametrize("how", FAILURES)
def test_what_ends_a_batch_fails_all_of_its_calls(how: str, runner: ToolRunner, gate: Path) -> None:
    """Once each, and nothing is run a second time; the next call begins with a new process."""
    answers = together(runner, gate, [{"do": how} if number == 3 else {} for number in range(8)])
    assert {error_of(answer) for answer in answers} == {FAILURES[how]}
    status = runner.registry.get_status("sample")
    assert status is not None
    assert (status.success_count, status.error_count, status.in_flight) == (1, 8, 0)
    assert value(runner.run("sample", {"number": 1}))["turn"] == 1


WRONG = {
    "too few": "run_batch returned 7 results for 8 payloads",
    "a dict": "what run_batch returned is not a list",
    "nothing": "what run_batch returned is not a list",
}


@pytest.mark.parametrize("what", WRONG)
def test_as_many_results_as_payloads(what: str, runner: ToolRunner, gate: Path) -> None:
    """Else nobody can tell whose is whose; whoever asks how the plugin is hears of that."""
    answers = together(runner, gate, [{"what": what} if number == 3 else {} for number in range(8)])
    assert {error_of(answer) for answer in answers} == {"OutputValidationError"}
    assert "8 payloads" in answers[0][1]["error"]["message"]
    status = runner.registry.get_status("sample")
    assert status is not None
    assert status.reason == f"OutputValidationError: {WRONG[what]}"


def test_an_invalid_payload_joins_no_batch(runner: ToolRunner, gate: Path) -> None:
    """It is refused before."""
    answers = together(runner, gate, [{"bad": float("nan")}, *[{}] * 8])
    assert [error_of(answer) for answer in answers] == ["ValidationError"] + [""] * 8
    assert {answer[0]["together"] for answer in answers[1:]} == {8}


def test_callers_share_no_batch(
    gate: Path, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Even where they share a process."""
    runner = make_runner(
        write_plugin(SOURCE, **KEYS),
        layers=layers,
        allow_resident=["sample"],
        plugin={"sample": {"read": [str(gate.parent)]}},
        resident_per="plugin",
        residents=ResidentLimits(each=1),
    )
    answers = together(runner, gate, [{}] * 8, lambda number: Call(caller=f"caller {number % 2}"))
    assert {result["together"] for result, _, _ in answers} == {4}
    by_turn: dict[int, set[int]] = {}
    for result, _, _ in answers:
        by_turn.setdefault(result["turn"], set()).add(result["number"] % 2)
    assert sorted(map(len, by_turn.values())) == [1, 1]


def test_a_cancelled_call_leaves_its_batch(runner: ToolRunner, gate: Path) -> None:
    """At once, and the others go on."""
    reached = threading.Event()
    calls = [Call(on_progress=lambda _fraction, _message: reached.set()) for _ in range(8)]

    def cancel() -> None:
        reached.wait()
        calls[0].cancel()
        calls[1].cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    answers = together(
        runner,
        gate,
        [{"do": "hangs"} if number == 3 else {} for number in range(8)],
        calls.__getitem__,
    )
    canceller.join()
    expected = ["Cancelled"] * 2 + ["TimeLimitExceeded"] * 6
    assert [error_of(answer) for answer in answers] == expected


def test_the_last_call_to_be_cancelled_ends_the_process(runner: ToolRunner, gate: Path) -> None:
    """Nobody waits for it any more."""
    reached = threading.Event()
    calls = [Call(on_progress=lambda _fraction, _message: reached.set()) for _ in range(8)]

    def cancel() -> None:
        reached.wait()
        for call in calls:
            call.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    answers = together(runner, gate, [{"do": "hangs"}] * 8, calls.__getitem__)
    canceller.join()
    assert {error_of(answer) for answer in answers} == {"Cancelled"}
    assert value(runner.run("sample", {"number": 1}))["turn"] == 1
    assert runner.residents()["sample"].replaced == {Replaced.CANCELLED: 1}


def test_map_fills_batches(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """Without being told how many to run at once: one that is early waits for more."""
    runner = make_runner(
        write_plugin(SOURCE, **KEYS, batch_ms="1000"),
        allow_resident=["sample"],
        residents=ResidentLimits(each=1),
    )
    payloads = [{"number": number} for number in range(16)]
    answers = [
        (value((result, error)), call) for _, result, error, call in runner.map("sample", payloads)
    ]
    assert max(result["together"] for result, _ in answers) > 1
    assert len({call.call_id for _, call in answers}) == 16
    figures = runner.residents()["sample"]
    assert (figures.calls, figures.processes) == (16, 1)
    assert figures.turns < 16


def test_the_operator_caps_batches(
    gate: Path, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """1 turns them off."""
    runner = make_runner(
        write_plugin(SOURCE, **KEYS),
        allow_resident=["sample"],
        plugin={"sample": {"read": [str(gate.parent)]}},
        max_batch=1,
        max_parallel=4,
        residents=ResidentLimits(each=1),
    )
    assert {answer[0]["together"] for answer in together(runner, gate, [{}] * 3)} == {1}


def test_batch_without_run_batch_does_not_load(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """And the error says what is missing."""
    source = "def run(payload):\n    return {}\n"
    runner = make_runner(write_plugin(source, **KEYS), allow_resident=["sample"])
    _, error = runner.run("sample", {})
    assert error is not None
    assert error["error"]["type"] == "PluginLoadError"
    assert "define run_batch(payloads)" in error["error"]["message"]


def test_processor_time_is_shared_equally(runner: ToolRunner, gate: Path) -> None:
    """A batch of eight may use what eight calls may."""
    answers = together(runner, gate, [{"do": "spins"}] * 8)
    assert {error_of(answer) for answer in answers} == {"TimeLimitExceeded"}
    (used,) = {call.usage.cpu_ms for _, _, call in answers}
    assert 0 < used < 2000


def test_nothing_is_left_of_a_batch_when_the_runner_closes(runner: ToolRunner, gate: Path) -> None:
    """Its calls end, each once."""
    reached = threading.Event()

    def close() -> None:
        reached.wait()
        runner.close()

    closer = threading.Thread(target=close)
    closer.start()
    answers = together(
        runner,
        gate,
        [{"do": "hangs"}] * 8,
        lambda _number: Call(on_progress=lambda _fraction, _message: reached.set()),
    )
    closer.join()
    assert {error_of(answer) for answer in answers} == {"SandboxError"}
    wait_until(lambda: runner.residents()["sample"].processes == 0, "none is left")
