"""Real servers: where they listen or refuse to, their answers, their log and their end."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import Cli
from tests.api.serve.conftest import Serve


def test_it_answers_and_ends_with_nothing_left(serve: Serve) -> None:
    """The address is told once every worker accepts; SIGTERM is a good end."""
    server = serve("--workers", "2")
    address = server.ready()
    assert httpx.get(f"{address}/healthz").json() == {"status": "ok"}
    server.family()
    assert server.end() == 0
    assert server.survivors() == []


def test_json_log_lines_carry_the_request(serve: Serve) -> None:
    """Each line is an object, and that of a request has the id that its answer had."""
    server = serve("--workers", "1", "--log-format", "json")
    address = server.ready()
    identity = httpx.get(f"{address}/healthz").headers["x-request-id"]
    server.end()
    lines: list[dict[str, Any]] = [json.loads(line) for line in server.log.splitlines()]
    assert identity in {line.get("request_id") for line in lines}


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
