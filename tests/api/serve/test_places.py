"""Places and the waiting room are the server's: a worker takes them as long as there are any."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.api.http.conftest import spin
from tests.api.serve.conftest import Serve, Server
from tests.conftest import WritePlugin
from tests.runner.test_shared_places import stop

SLOW = """
    import time

    def run(payload):
        time.sleep(payload["seconds"])
        return {"n": payload["n"]}
"""
# Of two workers with these each, a server has four places, and eight calls may wait.
NUMBERS = {
    "TOOLRUNNER_MAX_CONCURRENT": "2",
    "TOOLRUNNER_MAX_PARALLEL": "2",
    "TOOLRUNNER_MAX_WAITING": "4",
    "TOOLRUNNER_QUEUE_SECONDS": "600",
}
MOST = 12
Connection = http.client.HTTPConnection


@pytest.fixture
def server(serve: Serve, write_plugin: WritePlugin) -> Server:
    """A server of two workers, with a plugin that takes its time."""
    started = serve("--workers", "2", "--plugins", write_plugin(SLOW), **NUMBERS)
    started.ready()
    return started


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Hold a worker up, so that the other one accepts whoever connects."""
    stop(pid)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


Connect = Callable[[int, int], list[Connection]]


@pytest.fixture
def connect(server: Server) -> Iterator[Connect]:
    """Return a function that makes so many connections, all to one worker."""
    address = server.log.partition("listening on http://")[2].split()[0]
    with contextlib.ExitStack() as stack:

        def make(worker: int, number: int) -> list[Connection]:
            [other] = set(server.workers()) - {worker}
            made = []
            with stopped(other):
                for _ in range(number):
                    connection = Connection(address, timeout=120)
                    stack.callback(connection.close)
                    connection.request("GET", "/healthz")
                    assert connection.getresponse().read() == b'{"status":"ok"}'
                    made.append(connection)
            return made

        yield make


def call(connection: Connection, seconds: float, number: int) -> tuple[int, dict[str, object]]:
    """Call the plugin, and return status and document."""
    body = {"plugin": "sample", "payload": {"seconds": seconds, "n": number}}
    connection.request(
        "POST", "/v1/analyze", json.dumps(body), {"Content-Type": "application/json"}
    )
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def in_flight(connection: Connection) -> int:
    """Return how many calls run and wait in the whole server."""
    connection.request("GET", "/v1/plugins/sample")
    number: int = json.loads(connection.getresponse().read())["in_flight"]
    return number


def test_a_worker_has_all_places_while_the_others_need_none(
    server: Server, connect: Connect
) -> None:
    """As many calls as a server of one worker of twice the size would take; then one is refused."""
    server.drain_log()
    first, second = server.workers()
    connections = connect(first, MOST)
    [elsewhere, looker] = connect(second, 2)
    with ThreadPoolExecutor(MOST) as threads:
        answers = [
            threads.submit(call, connection, 2.0, number)
            for number, connection in enumerate(connections)
        ]
        spin(lambda: in_flight(looker) == MOST or any(one.done() for one in answers))
        if in_flight(looker) == MOST:  # on a host that is fast enough for it
            status, document = call(elsewhere, 0, 99)
            assert (status, document["detail"]["type"]) == (503, "Overloaded")  # type: ignore[index]  # JSON
        found = [one.result() for one in answers]
    assert found == [(200, {"result": {"n": n}, "plugin": "sample"}) for n in range(MOST)]


def test_a_worker_that_is_killed_takes_no_place_with_it(server: Server, connect: Connect) -> None:
    """Those who wait in the other one get them, and as many as ever may run at once."""
    server.drain_log()
    first, second = server.workers()
    doomed, living = connect(first, 4), connect(second, 9)
    looker = living.pop()
    with ThreadPoolExecutor(MOST) as threads:
        lost = [threads.submit(call, one, 600.0, n) for n, one in enumerate(doomed)]
        spin(lambda: in_flight(looker) == len(doomed))
        answers: list[Future[tuple[int, dict[str, object]]]] = [
            threads.submit(call, one, 0.1, n) for n, one in enumerate(living)
        ]
        spin(lambda: in_flight(looker) == MOST)
        assert not any(one.done() for one in answers)
        os.kill(first, signal.SIGKILL)
        found = [one.result() for one in answers]
        for one in lost:
            with pytest.raises((OSError, http.client.HTTPException)):
                one.result()
    assert found == [(200, {"result": {"n": n}, "plugin": "sample"}) for n in range(len(living))]


@pytest.mark.parametrize("drain", ["long", "short"])
def test_calls_that_wait_when_the_server_ends_are_answered(
    serve: Serve, write_plugin: WritePlugin, drain: str
) -> None:
    """With results as long as the drain lasts, whichever worker they wait in; else as Cancelled."""
    is_long = drain == "long"
    settings = {**NUMBERS, "TOOLRUNNER_DRAIN_SECONDS": "600" if is_long else "1"}
    server = serve("--workers", "2", "--plugins", write_plugin(SLOW), **settings)
    address = server.ready().removeprefix("http://")
    server.drain_log()
    connections = [Connection(address, timeout=120) for _ in range(MOST)]
    looker = Connection(address, timeout=120)
    with ThreadPoolExecutor(MOST) as threads, contextlib.ExitStack() as stack:
        for connection in (*connections, looker):
            stack.callback(connection.close)
        seconds = 2.0 if is_long else 600.0
        answers = [
            threads.submit(call, connection, seconds, number)
            for number, connection in enumerate(connections)
        ]
        spin(lambda: in_flight(looker) == MOST or any(one.done() for one in answers))
        server.family()
        assert server.end() == 0
        for number, answer in enumerate(answers):
            status, document = answer.result()
            if is_long:
                assert (status, document) == (200, {"result": {"n": number}, "plugin": "sample"})
            else:
                assert (status, document["detail"]["type"]) == (503, "Cancelled")  # type: ignore[index]  # JSON
    assert server.survivors() == []
