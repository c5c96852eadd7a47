"""What is left when something of a box, or the runner itself, dies: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import wait_until
from toolrunner import Call, ToolRunner
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.tool_runner import MaybeResult
from toolrunner.sandbox.exchange.exchange import Exchange
from toolrunner.sandbox.exchange.messages import Listener, Request
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import Limits
from toolrunner.sandbox.processes import tree_below
from toolrunner.sandbox.profile import Program
from toolrunner.sandbox.sandbox import Sandbox

Answer = tuple[MaybeResult, Envelope | None]
ROOT = str(Path(__file__).parent.parent.parent)
WAITING = """
    import os, time

    def run(payload, context):
        if os.fork() == 0:
            if os.fork() == 0:
                context.progress(0.5, "grandchild")
                time.sleep(1000)
            os._exit(0)
        os.wait()
        time.sleep(1000)
"""


def below() -> list[psutil.Process]:
    """Return the processes below this one."""
    return psutil.Process().children(recursive=True)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that have not ended, whoever is to reap them."""
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def own_temporary(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A folder for temporary files that nobody else writes to, and that a box's user can enter."""
    tmp_path_factory.getbasetemp()  # pytest's own, which must not be made in here
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o1777)  # as /tmp is
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield folder
        assert list(folder.iterdir()) == []


def start_waiting(tool_runner: ToolRunner) -> tuple[threading.Thread, Call, list[Answer]]:
    """Start a call that waits for ever; return once its grandchild has been heard."""
    heard = threading.Event()
    call = Call(on_progress=lambda _fraction, _message: heard.set())
    answers: list[Answer] = []
    thread = threading.Thread(
        target=lambda: answers.append(tool_runner.run("sample", {}, call=call))
    )
    thread.start()
    assert heard.wait(120)
    return thread, call, answers


def test_a_call_leaves_no_process_descriptor_or_file(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers, own_temporary: Path
) -> None:
    """After many calls, good and bad, everything is as it was."""
    plugin = write_plugin(
        "import os, time\n"
        "def run(payload):\n"
        "    open('file', 'w').write('x')\n"
        "    os.mkdir('closed', 0o700)\n"
        "    os.mkdir('closed/more', 0)\n"
        "    os.symlink('/', 'link')\n"
        "    os.mkfifo('fifo')\n"
        "    if payload['die']:\n"
        "        os.abort()\n"
        "    return {}\n"
    )
    tool_runner = make_runner(plugin, layers=layers)
    tool_runner.run("sample", {"die": False})
    descriptors = psutil.Process().num_fds()
    for number in range(10):
        result, error = tool_runner.run("sample", {"die": number % 2 == 1})
        assert (result is None) == (number % 2 == 1), error
    # The launcher that waits for a call; a box that was answered ends behind it.
    wait_until(
        lambda: psutil.Process().num_fds() <= descriptors + 3, "no more descriptors than before"
    )
    tool_runner.close()
    assert alive(below()) == []
    assert list(own_temporary.iterdir()) == []


@pytest.mark.usefixtures("own_temporary")
def test_cancelling_kills_the_whole_tree(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Grandchildren that nobody waits for are killed with their call."""
    tool_runner = make_runner(write_plugin(WAITING), layers=layers)
    thread, call, answers = start_waiting(tool_runner)
    box = below()
    call.cancel()
    thread.join(120)
    ((result, error),) = answers
    assert result is None
    assert error is not None
    assert error["error"]["type"] == "Cancelled"
    tool_runner.close()
    assert alive(box) == []


@pytest.mark.usefixtures("own_temporary")
def test_a_killed_warden_takes_its_box_along(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The call ends with the host's blame, and none of its processes lives on."""
    tool_runner = make_runner(write_plugin(WAITING), layers=layers)
    thread, _call, answers = start_waiting(tool_runner)
    wardens = [p for p in psutil.Process().children() if tree_below(p.pid)]
    assert len(wardens) == 1
    box = below()
    wardens[0].kill()
    thread.join(120)
    ((result, error),) = answers
    assert result is None
    assert error is not None
    assert error["error"]["type"] == "SandboxError"
    tool_runner.close()
    assert alive(box) == []


RUNNER = """
import sys, threading
from pathlib import Path
from typing import Any
from toolrunner import Call, PluginRegistry, ToolRunner
from toolrunner.sandbox.probe import probe
from toolrunner.sandbox.sandbox import Sandbox
from toolrunner.sandbox.spawn import Spawner

layers = probe(Spawner()).layers
if sys.argv[2] == "no-namespaces":
    layers = layers.without("namespaces")
registry = PluginRegistry.discover([Path(sys.argv[1])])
tool_runner = ToolRunner(registry, sandbox=Sandbox(layers=layers))
tool_runner.run("sample", {}, call=Call(on_progress=lambda *_: print("running", flush=True)))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_runners_death_ends_its_boxes(
    isolation: str,
    number: signal.Signals,
    write_plugin: WritePlugin,
    tmp_path: Path,
    own_temporary: Path,
) -> None:
    """However the runner dies in the middle of a call, no process or file of it survives."""
    script = tmp_path / "runner_script.py"
    script.write_text(RUNNER)
    command = [sys.executable, "-P", str(script), str(write_plugin(WAITING)), isolation]
    environment = {**os.environ, "PYTHONPATH": ROOT, "TMPDIR": str(own_temporary)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        box = psutil.Process(process.pid).children(recursive=True)
        assert len(box) >= 3
        process.send_signal(number)
        process.wait(120)
    psutil.wait_procs(box, timeout=120)
    assert list(own_temporary.iterdir()) == []
    assert alive(box) == []


def test_a_closed_sandbox_refuses_calls(host_layers: Layers) -> None:
    """A call after close is the host's fault, said in words."""
    sandbox = Sandbox(layers=host_layers)
    sandbox.close()
    ending = sandbox.call(
        Program("late", "/nowhere/late.py", source=b"def run(p): return {}"),
        Limits(),
        Request("id", b"{}"),
        listener=Listener(),
    )
    assert ending.setup is not None
    assert "closed" in ending.setup.message


def test_calls_from_many_threads_do_not_mix(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Each caller gets the answer to its own payload, from a process that ran nothing before."""
    plugin = write_plugin(
        "calls = 0\n"
        "def run(payload):\n"
        "    global calls\n"
        "    calls += 1\n"
        "    return {'own': payload['number'], 'calls': calls}\n"
    )
    tool_runner = make_runner(plugin, layers=layers)
    answers: dict[int, object] = {}

    def call(number: int) -> None:
        answers[number] = tool_runner.run("sample", {"number": number})

    threads = [threading.Thread(target=call, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert answers == {n: ({"own": n, "calls": 1}, None) for n in range(12)}
    status = tool_runner.registry.get_status("sample")
    assert status is not None
    assert (status.success_count, status.error_count, status.in_flight) == (12, 0, 0)


@pytest.mark.parametrize("start", ["auto", "cold"])
def test_a_process_that_is_long_about_its_end_ended_by_itself(
    start: str,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    layers: Layers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a busy host its channel may end well before it: its status says what happened."""
    monkeypatch.setattr(Exchange, "grace_seconds", 0.0)
    source = "import os\ndef run(payload): os._exit(7)\n"
    tool_runner = make_runner(write_plugin(source, start=f'"{start}"'), layers=layers)
    for _ in range(5):
        _, envelope = tool_runner.run("sample", {})
        assert envelope is not None
        error = envelope["error"]
        assert (error["type"], error["details"]["exit_code"]) == ("PluginCrashed", 7)
