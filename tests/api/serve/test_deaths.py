"""Real servers whose processes are killed, drained, reloaded and looked into."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.api.serve.conftest import Serve, Server
from tests.conftest import WritePlugin

READY = r"worker 0 \(process (\d+)\) is ready"
QUICK = """
    class Plugin:
        def run(self, payload, context):
            return {}
"""
SLOW = """
    import logging, time

    class Plugin:
        def run(self, payload, context):
            logging.getLogger("deep").warning("begun")
            time.sleep(1)
            return {"ok": True}
"""
CALL = {"plugin": "sample", "payload": {}}


@pytest.fixture
def noisy() -> Iterator[list[Server]]:
    """Yield a list; the servers in it are ended after the test."""
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.process.kill()
        server.process.wait()
        assert server.process.stderr is not None
        server.process.stderr.close()


def supervise(servers: list[Server], environment: dict[str, str], worker: str) -> Server:
    """Start the noisy program with one kind of worker."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.api.serve.noisy", worker],
        env=environment,
        stderr=subprocess.PIPE,
    )
    servers.append(Server(process))
    return servers[-1]


def test_workers_killed_in_the_middle_of_a_record_never_silence_the_log(
    noisy: list[Server], environment: dict[str, str]
) -> None:
    """Each one's successor is heard, and so is the supervisor."""
    server = supervise(noisy, environment, "write")
    for _ in range(4):
        pid = int(server.wait_for(READY)[1])
        server.wait_for(rf"\d of {pid} x")
        os.kill(pid, signal.SIGKILL)
        server.wait_for(rf"cleared after {pid}\n")
        server.wait_for(rf"process {pid}\) was ended by SIGKILL")
    pid = int(server.wait_for(READY)[1])
    server.wait_for(rf"99 of {pid} x")
    assert server.end() == 0


def test_a_worker_that_cannot_start_ends_the_server_with_its_reason(
    noisy: list[Server], environment: dict[str, str]
) -> None:
    """After a few tries, and not with a loop for ever."""
    server = supervise(noisy, environment, "fail")
    assert server.finish() == 3
    assert "cannot be started" in server.log
    assert "worker 0 has nothing to serve" in server.log
    assert "Traceback" in server.log


def test_a_killed_worker_is_replaced(serve: Serve) -> None:
    """Requests are answered again, by another process."""
    server = serve("--workers", "1")
    pid = int(server.wait_for(READY)[1])
    address = server.ready()
    os.kill(pid, signal.SIGKILL)
    server.wait_for("was ended by SIGKILL")
    assert int(server.wait_for(READY)[1]) != pid
    assert httpx.get(f"{address}/healthz").status_code == 200


def test_the_end_waits_for_a_running_call(serve: Serve, write_plugin: WritePlugin) -> None:
    """Its answer arrives, and no process is left."""
    server = serve("--workers", "1", "--plugins", write_plugin(SLOW))
    address = server.ready()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(httpx.post, f"{address}/v1/analyze", json=CALL, timeout=120)
        server.wait_for("begun")
        server.family()
        assert server.end() == 0
        assert answer.result().json()["result"] == {"ok": True}
    assert server.survivors() == []


def test_a_second_interrupt_waits_for_nothing(serve: Serve, write_plugin: WritePlugin) -> None:
    """The call is lost, and the status says so; no process is left."""
    server = serve(
        "--workers", "1", "--plugins", write_plugin(SLOW.replace("sleep(1)", "sleep(25)"))
    )
    address = server.ready()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(httpx.post, f"{address}/v1/analyze", json=CALL, timeout=120)
        server.wait_for("begun")
        server.family()
        server.process.send_signal(signal.SIGINT)
        server.wait_for("what runs may end")
        assert server.end(signal.SIGINT) == 130
        assert isinstance(answer.exception(), httpx.TransportError)
    assert server.survivors() == []


def test_nothing_outlives_a_killed_supervisor(serve: Serve, write_plugin: WritePlugin) -> None:
    """Workers end at the end of its pipe, and their boxes with them."""
    server = serve("--workers", "2", "--plugins", write_plugin(QUICK))
    address = server.ready()
    assert httpx.post(f"{address}/v1/analyze", json=CALL).status_code == 200
    assert server.family()
    server.process.kill()
    assert server.survivors() == []


def test_a_hangup_shows_a_new_plugin(serve: Serve, write_plugin: WritePlugin) -> None:
    """Plugins are loaded again by the same worker process."""
    folder = write_plugin(QUICK, name="first").parent
    server = serve("--workers", "1", "--plugins", folder)
    address = server.ready()
    write_plugin(QUICK, name="second")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("plugins are loaded again")
    assert httpx.get(f"{address}/v1/plugins/second").status_code == 200


LOOKING = """
    import os

    def run(payload):
        inodes = []
        for number in range(1024):
            try:
                inodes.append(os.fstat(number).st_ino)
            except OSError:
                pass
        return {"inodes": inodes}
"""


def test_no_box_holds_a_descriptor_of_its_worker(serve: Serve, write_plugin: WritePlugin) -> None:
    """Neither the log's queue, nor the lifeline, nor the listening socket can be reached there."""
    server = serve("--workers", "1", "--plugins", write_plugin(LOOKING))
    pid = int(server.wait_for(READY)[1])
    address = server.ready()
    answer = httpx.post(f"{address}/v1/analyze", json=CALL)
    assert answer.status_code == 200, answer.text
    at_birth = pipes_and_sockets(psutil.Process(pid).ppid()) & pipes_and_sockets(pid)
    # Both ends of a pipe have one name. What the tests gave to all is left out.
    at_birth -= {os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)}
    boxes = psutil.Process(pid).children(recursive=True)
    assert len(at_birth) >= 3
    inodes = {int(name.partition("[")[2].rstrip("]")) for name in at_birth}
    assert not inodes & set(answer.json()["result"]["inodes"])
    assert boxes
    for box in boxes:
        try:
            assert not at_birth & pipes_and_sockets(box.pid), box
        except PermissionError:
            # An ordinary user may not look into a box. The plugin itself has looked.
            assert os.getuid() != 0


def pipes_and_sockets(pid: int) -> set[str]:
    """Return the names of all pipes and sockets that a process has open: none when it has ended."""
    names = set()
    with contextlib.suppress(FileNotFoundError):  # a call's process, after its answer
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it was open for a moment
                names.add(os.readlink(link))
    return {name for name in names if name.startswith(("pipe:", "socket:"))}
