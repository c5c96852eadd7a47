"""Real servers: where they listen or refuse to, their answers, their log and their end."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import Cli
from tests.api.serve.conftest import Serve
from tests.conftest import WritePlugin
from tests.sandbox.boxes import wait_until

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HTTP = Path(__file__).parents[3] / "docs/http.md"


def test_it_answers_and_ends_with_nothing_left(serve: Serve) -> None:
    """The address is told once every worker accepts; SIGTERM is a good end."""
    server = serve("--workers", "2")
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
    [line] = [one for one in lines if one.get("request_id") == wrong.headers["x-request-id"]]
    assert (line["plugin"], line["traceparent"]) == ("text-stats", TRACEPARENT)
    assert line["level"] == "INFO"
    # What went well is for --debug, and for the audit log.
    assert good.headers["x-request-id"] not in server.log


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


QUICK_AND_SLOW = """
    import time

    def run(payload):
        time.sleep(payload.get("seconds", 0))
        return {}
"""


def test_every_documented_figure_is_there(serve: Serve, write_plugin: WritePlugin) -> None:
    """By its name, with the values of what happened; killed calls by their reason."""
    plugin = write_plugin(QUICK_AND_SLOW, limits="{ wall_seconds = 2 }")
    failing = write_plugin(
        "def run(payload):\n    return 1 // 0\n", name="kept", start='"resident"'
    )
    options = ("--workers", "2", "--plugins", plugin, "--plugins", failing)
    address = serve(*options, TOOLRUNNER_ALLOW_RESIDENT="kept").ready()
    for seconds in (0, 0, 30):
        httpx.post(
            f"{address}/v1/analyze", json={"plugin": "sample", "payload": {"seconds": seconds}}
        )
    httpx.post(f"{address}/v1/analyze", json={"plugin": "kept", "payload": {}})
    replaced = 'toolrunner_residents_replaced_total{plugin="kept",reason="failed"} 1.0'
    wait_until(lambda: replaced in httpx.get(f"{address}/metrics").text, "it is noted")
    text = httpx.get(f"{address}/metrics").text
    guide = HTTP.read_text(encoding="utf-8")
    documented = re.findall(r"(?m)^\| `(toolrunner_\w+)` \|", guide)
    assert len(documented) == 16
    for name in documented:
        assert re.search(rf"^{name}(_count)?[ {{]", text, re.MULTILINE), name
    assert 'toolrunner_calls_total{outcome="success",plugin="sample"} 2.0' in text
    assert 'toolrunner_kills_total{plugin="sample",reason="TimeLimitExceeded"} 1.0' in text
    assert 'toolrunner_call_seconds_count{plugin="sample"} 3.0' in text
    assert 'toolrunner_in_flight{plugin="sample"} 0' in text
    assert 'toolrunner_residents_calls_total{plugin="kept"} 1.0' in text
    assert 'toolrunner_isolation_layer{layer="seccomp"} 1' in text
    assert re.search(r"^toolrunner_waiting 0\.0$", text, re.MULTILINE)


def test_a_killed_server_leaves_no_figures_behind(serve: Serve, tmp_path: Path) -> None:
    """The next one clears them away, and those of a server that lives stay."""
    first = serve("--workers", "1")
    first.ready()
    first.family()
    first.process.kill()
    assert first.survivors() == []
    second = serve("--workers", "1")
    address = second.ready()
    assert len(list((tmp_path / "state" / "figures").iterdir())) == 1
    third = serve("--workers", "1")
    third.ready()
    assert len(list((tmp_path / "state" / "figures").iterdir())) == 2
    assert "toolrunner_build_info" in httpx.get(f"{address}/metrics").text
    assert (second.end(), third.end()) == (0, 0)
    assert list((tmp_path / "state" / "figures").iterdir()) == []
