"""Real servers: where they listen or refuse to, their answers, their log and their end."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import Cli, Start
from tests.api.serve.conftest import Serve
from tests.conftest import WritePlugin

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_it_answers_and_ends_with_nothing_left(serve: Serve, start: Start) -> None:
    """The address is told once every worker accepts; SIGTERM is a good end."""
    server = serve("--workers", "2", by=start)
    address = server.ready()
    assert httpx.get(f"{address}/healthz").json() == {"status": "ok"}
    server.family()
    assert server.end() == 0
    assert server.survivors() == []


def test_json_log_lines_carry_the_request(serve: Serve) -> None:
    """Each line is an object, and that of a request has the ids that it came and went with."""
    server = serve("--workers", "1", "--log-format", "json")
    address = server.ready()
    body = {"plugin": "text-stats", "payload": {}}
    wrong = httpx.post(f"{address}/v1/analyze", json=body, headers={"traceparent": TRACEPARENT})
    good = httpx.get(f"{address}/healthz")
    server.end()
    lines: list[dict[str, Any]] = [json.loads(line) for line in server.log.splitlines()]
    told = [one for one in lines if one.get("request_id") == wrong.headers["x-request-id"]]
    assert {one["logger"] for one in told} == {"toolrunner.http", "toolrunner.calls"}
    [line] = [one for one in told if one["logger"] == "toolrunner.http"]
    assert (line["plugin"], line["traceparent"]) == ("text-stats", TRACEPARENT)
    assert line["level"] == "INFO"
    # What went well is for --debug, and for the audit log.
    assert good.headers["x-request-id"] not in server.log


def test_what_a_call_prints_is_logged_for_who_asks(serve: Serve, write_plugin: WritePlugin) -> None:
    """Its end, on one line, without what a terminal would act on; never by default."""
    source = "def run(payload):\n    print('x' * 9000, 'a\\x1b[2J\\nb')\n    return {}\n"
    path = write_plugin(source)
    for options, words in ((("-v",), r"[2J\nb"), ((), "")):
        server = serve("--workers", "1", "--plugins", str(path), *options)
        body = {"plugin": "sample", "payload": {}}
        assert httpx.post(f"{server.ready()}/v1/analyze", json=body).status_code == 200
        server.end()
        told = [line for line in server.log.splitlines() if " printed: " in line]
        assert len(told) == bool(words)
        for line in told:
            assert line.endswith(words)
            assert "\x1b" not in line
            assert len(line) < 4500


def test_what_listens_elsewhere_needs_keys(cli: Cli, tmp_path: Path) -> None:
    """The refusal says what to do."""
    ended = cli("serve", "--host", "0.0.0.0", "--port", "0", "--state", tmp_path / "none")
    assert ended.status == 2
    assert "toolrunner keys create" in ended.err
    assert "--insecure" in ended.err


@pytest.mark.parametrize("host", ["no.such.host.invalid", "127.0.0.1"])
def test_where_it_cannot_listen_it_says_so(cli: Cli, host: str) -> None:
    """An unknown host is the caller's mistake, a port in use the host's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = cli("serve", "--host", host, "--port", str(taken.getsockname()[1]))
    assert ended.status == (3 if host == "127.0.0.1" else 2)
    assert host in ended.err
