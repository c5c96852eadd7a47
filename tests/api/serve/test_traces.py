"""Traces, as a collector gets them: a span a request, one a call below it, and the plugin's own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import httpx
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.api.conftest import Cli, common_environment
from tests.api.serve.collector import collecting, values
from tests.api.serve.conftest import Serve
from tests.commands import a_script
from tests.conftest import WritePlugin
from toolrunner.runner.replay.bundle import Bundle, bundles_at

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
PLUGIN = """
    def run(payload, context):
        if payload.get("fail"):
            raise ValueError("bad")
        return {"traceparent": context.traceparent}
"""


IMPORTS = """
    import sys
    import toolrunner, toolrunner.api.cli.app
    assert not [name for name in sys.modules if name.startswith(("opentelemetry", "obstore"))]
    import toolrunner.api.serve.program
    for name in ("opentelemetry.sdk", "opentelemetry.exporter", "requests", "google.protobuf"):
        assert name not in sys.modules, name
    for name in ("obstore", "toolrunner.runner.jobs.s3_blobs"):
        assert name not in sys.modules, name
"""


def traceparent(span: Span) -> str:
    """Return what a span's children are told, but for its flags, which collectors do not get."""
    return f"00-{span.trace_id.hex()}-{span.span_id.hex()}"


def post(
    address: str, path: str, payload: dict[str, Any], *, plugin: str = "sample", **headers: str
) -> httpx.Response:
    """Ask for a call of the plugin."""
    body = {"plugin": plugin, "payload": payload}
    return httpx.post(f"{address}{path}", json=body, headers=headers, timeout=120)


def test_a_trace_goes_from_the_client_to_the_plugin(
    serve: Serve, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """Its parts are in one another; the log names them; a failed call is kept as ever."""
    plugin = write_plugin(PLUGIN)
    with collecting() as collector:
        server = serve(
            *("--plugins", plugin, "--workers", "1", "--log-format", "json"),
            *("--keep-failures", tmp_path / "failures"),
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.address,
        )
        address = server.ready()
        answer = post(address, "/v1/analyze", {}, traceparent=TRACEPARENT)
        failed = post(address, "/v1/analyze", {"fail": True})
        refused = httpx.post(f"{address}/v1/analyze", json={"plugin": "nobody", "payload": {}})
        job = post(address, "/v1/jobs", {}, traceparent=TRACEPARENT).json()["id"]
        with httpx.stream("GET", f"{address}/v1/jobs/{job}/events", timeout=120) as events:
            events.read()
        by_job = httpx.get(f"{address}/v1/jobs/{job}/result").json()["result"]["traceparent"]
        httpx.get(f"{address}/healthz")
        assert server.end() == 0
    assert (answer.status_code, failed.status_code, refused.status_code) == (200, 400, 400)
    assert collector.services == {"toolrunner"}

    first, second, third = collector.named("POST /v1/analyze")
    assert (first.trace_id.hex(), first.parent_span_id.hex()) == (TRACE, PARENT)
    assert (second.parent_span_id, third.parent_span_id) == (b"", b"")
    assert second.trace_id != first.trace_id
    [call] = collector.below(first)
    assert call.name == "call sample"
    assert answer.json()["result"]["traceparent"] == f"{traceparent(call)}-01"
    told = values(call.attributes)
    assert told["toolrunner.plugin"] == "sample"
    assert told["toolrunner.call_id"] == answer.headers["X-Request-ID"]
    assert (told["toolrunner.outcome"], call.status.code) == ("success", Status.STATUS_CODE_UNSET)
    parts = collector.below(call)
    assert [part.name for part in parts] == ["queue", "load", "run"]
    edges = [call.start_time_unix_nano, *(part.end_time_unix_nano for part in parts)]
    assert [part.start_time_unix_nano for part in parts] == edges[:3]
    assert edges == sorted(edges)
    assert edges[-1] <= call.end_time_unix_nano <= first.end_time_unix_nano

    [call] = collector.below(second)
    assert values(call.attributes)["error.type"] == "ExecutionError"
    assert call.status.code == Status.STATUS_CODE_ERROR
    [call] = collector.below(third)
    assert call.name == "call"
    assert values(call.attributes)["toolrunner.plugin"] == ""
    assert [part.name for part in collector.below(call)] == ["queue"]
    # A job's call goes on with the trace of the request that has left it, which has ended by then.
    [left] = collector.named("POST /v1/jobs")
    assert (left.trace_id.hex(), left.parent_span_id.hex()) == (TRACE, PARENT)
    [call] = collector.below(left)
    assert by_job == f"{traceparent(call)}-01"
    assert not [span for span in collector.spans if "healthz" in span.name]

    lines = [json.loads(line) for line in server.log.splitlines()]
    [said] = [line for line in lines if " of sample 1.0.0 (analyze) failed" in line["message"]]
    assert said["traceparent"].startswith(traceparent(collector.below(second)[0]))
    [bundle] = [Bundle(folder) for folder in bundles_at(tmp_path / "failures")]
    assert bundle.call.call_id == failed.headers["X-Request-ID"]


def test_a_collector_that_is_away_costs_nothing(serve: Serve, write_plugin: WritePlugin) -> None:
    """Calls are answered, and the server ends. Named by the setting, which wins."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        server = serve(
            *("--plugins", write_plugin(PLUGIN), "--workers", "1"),
            TOOLRUNNER_TRACES_ENDPOINT=f"http://127.0.0.1:{nobody.getsockname()[1]}",
            OTEL_EXPORTER_OTLP_ENDPOINT="http://localhost:1",
        )
        address = server.ready()
        answer = post(address, "/v1/analyze", {}, traceparent=TRACEPARENT)
        assert answer.json()["result"]["traceparent"].startswith(f"00-{TRACE}-")
        assert server.end() == 0
    assert "Traceback" not in server.log
    assert len([line for line in server.log.splitlines() if " opentelemetry." in line]) == 1


def test_a_plugin_gets_the_trace_of_its_client_where_there_is_no_collector(
    serve: Serve, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """What it asks for itself is then a part of that; and "" is none, also of a program."""
    plugin = write_plugin(PLUGIN, name="other")
    program = a_script(tmp_path, 'printf \'{"traceparent": "%s"}\' "$TRACEPARENT"')
    server = serve("--plugins", plugin, "--plugins", program, "--workers", "1")
    address = server.ready()
    for name in ("other", "sample"):
        with_one = post(address, "/v1/analyze", {}, plugin=name, traceparent=TRACEPARENT)
        without = post(address, "/v1/analyze", {}, plugin=name)
        assert with_one.json()["result"] == {"traceparent": TRACEPARENT}
        assert without.json()["result"] == {"traceparent": ""}
        job = post(address, "/v1/jobs", {}, plugin=name, traceparent=TRACEPARENT).json()["id"]
        with httpx.stream("GET", f"{address}/v1/jobs/{job}/events", timeout=120) as events:
            events.read()
        result = httpx.get(f"{address}/v1/jobs/{job}/result").json()["result"]
        assert result == {"traceparent": TRACEPARENT}
    worker = Path(f"/proc/{server.workers()[0]}/maps").read_text()
    assert "google/_upb" not in worker  # what the exporter writes with
    assert server.end() == 0


def test_who_wants_no_traces_does_not_wait_for_opentelemetry() -> None:
    """The library and the commands import nothing of it, a server no more than FastAPI does.

    Nor does anybody wait for what only a bucket needs.
    """
    code = textwrap.dedent(IMPORTS)
    subprocess.run([sys.executable, "-P", "-c", code], env=common_environment(), check=True)


def test_what_is_missing_for_traces_is_said_at_the_start(cli: Cli, tmp_path: Path) -> None:
    """The extra is one command away; a URL that is none is refused as any setting."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util as u\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if 'otlp' in name else real(name, *a)\n"
    )
    path = f"{hidden}:{common_environment()['PYTHONPATH']}"
    wanted = {"TOOLRUNNER_TRACES_ENDPOINT": "http://localhost:4318"}
    ended = cli("serve", "--port", "0", PYTHONPATH=path, **wanted)
    assert ended.status == 2
    assert 'pip install "toolrunner-sandbox[traces]"' in " ".join(ended.err.split())
    ended = cli("serve", "--port", "0", TOOLRUNNER_TRACES_ENDPOINT="collector:4318")
    assert ended.status == 2
    assert "must be the URL of a collector, such as http://localhost:4318" in ended.err
