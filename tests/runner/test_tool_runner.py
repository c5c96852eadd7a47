"""ToolRunner beyond the single call: turns, cancelling, what a plugin is given, what is logged."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import resource
import signal
import sys
import threading
import weakref
from contextlib import closing
from functools import partial

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call, ToolRunner
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.settings.settings import PluginSettings
from toolrunner.runner.tool_runner import MaybeResult
from toolrunner.sandbox.layers import Layers

Answer = tuple[MaybeResult, Envelope | None]
WAITING = """
    import time

    def run(payload, context):
        context.progress(0.5, "running")
        time.sleep(60)
"""


def error_type(answer: Answer) -> str:
    """Return the type of an answer's error."""
    assert answer[1] is not None
    return str(answer[1]["error"]["type"])


def start(tool_runner: ToolRunner) -> tuple[threading.Thread, Call, list[Answer]]:
    """Start a call that waits; return once it is known to run."""
    running = threading.Event()
    call = Call(on_progress=lambda _fraction, _message: running.set())
    answers: list[Answer] = []
    thread = threading.Thread(
        target=lambda: answers.append(tool_runner.run("sample", {}, call=call))
    )
    thread.start()
    assert running.wait(120)
    return thread, call, answers


def test_a_plugin_begins_with_default_signals(
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    layers: Layers,
    request: pytest.FixtureRequest,
) -> None:
    """Whatever the program that runs it ignores, as one in the background or under nohup does."""
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGCHLD):
        request.addfinalizer(partial(signal.signal, number, signal.signal(number, signal.SIG_IGN)))
    plugin = write_plugin("""
        import signal

        def run(payload):
            numbers = signal.valid_signals()
            ignored = [int(n) for n in numbers if signal.getsignal(n) == signal.SIG_IGN]
            return {"ignored": sorted(ignored)}
    """)
    result, error = make_runner(plugin, layers=layers).run("sample", {})
    assert error is None
    assert result == {"ignored": [signal.SIGPIPE, signal.SIGXFSZ]}


def test_a_host_that_allows_no_core_dumps_is_no_obstacle(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """A limit that is lower than ours stays as it is."""
    plugin = write_plugin("""
        import resource

        def run(payload):
            return {"core": resource.getrlimit(resource.RLIMIT_CORE)}
    """)

    def call_without_cores() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with closing(make_runner(plugin, layers=layers)) as tool_runner:
            for _ in range(2):  # the second is warm
                answer = tool_runner.run("sample", {})
                if answer != ({"core": [0, 0]}, None):
                    sys.exit(str(answer))

    process = multiprocessing.get_context("fork").Process(target=call_without_cores)
    process.start()
    process.join()
    assert process.exitcode == 0


def test_calls_take_turns(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """One place, many callers: each gets its answer, and nobody is turned away."""
    plugin = write_plugin("def run(payload): return {'own': payload['n']}")
    tool_runner = make_runner(plugin, layers=layers, max_concurrent=1, max_waiting=8)
    answers: dict[int, Answer] = {}

    def call(number: int) -> None:
        answers[number] = tool_runner.run("sample", {"n": number})

    threads = [threading.Thread(target=call, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert answers == {n: ({"own": n}, None) for n in range(8)}


def test_a_call_does_not_wait_for_ever(write_plugin: WritePlugin, make_runner: MakeRunner) -> None:
    """Who gets no place in time is told to come again."""
    tool_runner = make_runner(
        write_plugin(WAITING), max_concurrent=1, max_waiting=1, queue_seconds=0.1
    )
    thread, first, _answers = start(tool_runner)
    try:
        assert error_type(tool_runner.run("sample", {})) == "Overloaded"
    finally:
        first.cancel()
        thread.join(120)


def test_a_waiting_call_can_be_withdrawn(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """It leaves the queue without ever having had a place; the one that runs is left alone."""
    tool_runner = make_runner(write_plugin(WAITING), max_concurrent=1)
    thread, first, answers = start(tool_runner)
    second = Call()
    second.cancel()
    try:
        assert error_type(tool_runner.run("sample", {}, call=second)) == "Cancelled"
        assert answers == []
    finally:
        first.cancel()
        thread.join(120)
    assert [error_type(answer) for answer in answers] == ["Cancelled"]


def test_cancelling_after_the_answer_changes_nothing(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """A call that has replied keeps its outcome."""
    call = Call()
    tool_runner = make_runner(write_plugin("def run(payload): return {'a': 1}"))
    answer = tool_runner.run("sample", {}, call=call)
    call.cancel()
    assert answer == ({"a": 1}, None)
    status = tool_runner.registry.get_status("sample")
    assert status is not None
    assert status.success_count == 1


def test_a_plugin_shows_as_running_while_it_runs(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """The state and the number in flight are those of the moment."""
    tool_runner = make_runner(write_plugin(WAITING))
    thread, call, _answers = start(tool_runner)
    status = tool_runner.registry.get_status("sample")
    call.cancel()
    thread.join(120)
    assert status is not None
    assert (status.state, status.in_flight) == ("RUNNING", 1)
    assert tool_runner.registry.get_state("sample") == "LOADED"


def test_a_failed_plugin_can_still_be_called(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """The next success clears the failure."""
    tool_runner = make_runner(write_plugin("def run(payload): return {'x': 1 / payload['n']}"))
    assert error_type(tool_runner.run("sample", {"n": 0})) == "ExecutionError"
    assert tool_runner.registry.get_state("sample") == "FAILED"
    assert tool_runner.run("sample", {"n": 2}) == ({"x": 0.5}, None)
    assert tool_runner.registry.get_state("sample") == "INITIALIZED"


def test_a_plugin_gets_what_the_operator_gives_it(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Its own part of the settings, and nobody else's."""
    plugin = write_plugin("def run(payload, context): return context.config")
    given = {
        "sample": PluginSettings(config={"key": "value"}),
        "other": PluginSettings(config={"key": "not yours"}),
    }
    tool_runner = make_runner(plugin, plugin={n: s.model_dump() for n, s in given.items()})
    assert tool_runner.run("sample", {}) == ({"key": "value"}, None)


def test_log_records_arrive_with_the_calls_id(
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    layers: Layers,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What a plugin logs is logged here, under its name, and kept apart from what it prints."""
    plugin = write_plugin(
        """
        import logging

        def run(payload):
            print("printed")
            logging.getLogger("deep.inside").warning("only %d left", 3)
            return {}
        """
    )
    call = Call()
    with caplog.at_level(logging.WARNING, "toolrunner.plugin.sample"):
        assert make_runner(plugin, layers=layers).run("sample", {}, call=call) == ({}, None)
    (record,) = (r for r in caplog.records if r.name == "toolrunner.plugin.sample")
    assert record.getMessage() == f"{call.call_id}: only 3 left"
    assert record.levelno == logging.WARNING
    assert vars(record)["call_id"] == call.call_id
    assert vars(record)["plugin_logger"] == "deep.inside"
    assert call.log_tail == "printed\n"


@pytest.mark.parametrize("keyword", ["context", "*, context", "more", "*arguments"])
def test_a_second_parameter_is_the_context(
    keyword: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """By position or by name, for functions of every usual shape but those that take anything."""
    name = keyword.rpartition(" ")[2].lstrip("*")
    plugin = write_plugin(
        f"def run(payload, {keyword}): return {{'got': hasattr({name}, 'call_id')}}"
    )
    assert make_runner(plugin).run("sample", {}) == ({"got": keyword != "*arguments"}, None)


def test_modules_of_the_tests_own_folder_are_not_found(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """A plugin imports the standard library and what is installed, and nothing of ours."""
    plugin = write_plugin(
        """
        def run(payload):
            found = []
            for name in ("runner", "sandbox", "plugins", "api", "tests"):
                try:
                    __import__(name)
                    found.append(name)
                except ImportError:
                    pass
            return {"found": found}
        """
    )
    assert make_runner(plugin, layers=layers).run("sample", {}) == ({"found": []}, None)


class Given(dict[str, object]):
    """A payload that a weak reference can tell of."""


@pytest.mark.parametrize("name", ["nobody", "sample"])
def test_a_failed_call_holds_its_payload_no_longer(
    name: str, make_runner: MakeRunner, write_plugin: WritePlugin
) -> None:
    """It may be large, and many may fail before garbage is collected."""
    tool_runner = make_runner(write_plugin("def run(payload): raise ValueError"))
    tool_runner.run("sample", {})  # the first one finds out what the host can do
    payload = Given(text="large")
    told = weakref.ref(payload)
    gc.collect()
    gc.disable()
    try:
        _, error = tool_runner.run(name, payload)
        del payload
        assert error is not None
        assert told() is None
    finally:
        gc.enable()
