"""Payload, reply, output and log records: to the byte."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.runner.limit_rows import run
from toolrunner import Call
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import MIB


@pytest.mark.parametrize(("extra", "fits"), [(0, True), (1, False)], ids=["at it", "a byte over"])
@pytest.mark.parametrize("kind", ["json", "image"])
def test_a_payload_may_be_as_large_as_its_limit(
    extra: int, fits: bool, kind: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Counted as what travels: compact JSON, and the raw bytes of an image."""
    keys = {"accepts": '["image/png"]'} if kind == "image" else {}
    plugin = write_plugin(
        "def run(payload): return {'size': len(payload.get('image') or payload['x'])}",
        input=kind,
        limits="{ payload_mb = 1 }",
        **keys,
    )
    payload: dict[str, Any]
    if kind == "image":
        payload = {"mime_type": "image/png"}
        size = MIB - len(json.dumps(payload, separators=(",", ":"))) + extra
        payload["image"] = bytes(size)
    else:
        size = MIB - len('{"x":""}') + extra
        payload = {"x": "x" * size}
    result, envelope = run(make_runner(plugin), payload)
    if fits:
        assert result == {"size": size}
    else:
        assert envelope is not None
        assert envelope["error"]["type"] == "ValidationError"
        assert envelope["error"]["details"]["limit"]["name"] == "payload_mb"
        assert str(MIB + 1) in envelope["error"]["message"]


def test_a_payload_cap_lowers_the_manifests(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """The operator's word on what may be sent."""
    plugin = write_plugin("def run(payload): return {}", limits="{ payload_mb = 50 }")
    _result, envelope = run(make_runner(plugin, caps={"payload_mb": 1}), {"x": "x" * MIB})
    assert envelope is not None
    assert envelope["error"]["details"]["limit"]["configured"] == 1


@pytest.mark.parametrize("extra", [0, 1], ids=["at it", "a byte over"])
def test_a_reply_may_be_as_large_as_its_limit(
    extra: int, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The last byte decides, and an announced size is enough to refuse."""
    call = Call()
    size = MIB - len('{"x": ""}') + extra
    plugin = write_plugin(
        f"def run(payload): return {{'x': 'x' * {size}}}", limits="{ output_mb = 1 }"
    )
    result, envelope = run(make_runner(plugin, layers=layers), call=call)
    assert call.usage.output_bytes == MIB + extra
    if extra:
        assert envelope is not None
        assert envelope["error"]["type"] == "OutputLimitExceeded"
    else:
        assert result == {"x": "x" * size}


@pytest.mark.parametrize(("size", "dropped"), [(2048, 0), (2049, 1), (5 * MIB, 5 * MIB - 2048)])
@pytest.mark.parametrize("stream", [1, 2], ids=["stdout", "stderr"])
def test_output_beyond_its_limit_is_dropped_and_counted(
    size: int,
    dropped: int,
    stream: int,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    layers: Layers,
) -> None:
    """The end is kept, since it says what happened last; the call does not suffer."""
    call = Call()
    plugin = write_plugin(
        f"import os\n"
        f"def run(payload):\n"
        f"    left = {size} - 4\n"
        f"    while left:\n"
        f"        left -= os.write({stream}, b'x' * min(left, 65536))\n"
        f"    os.write({stream}, b'last')\n"
        f"    return {{}}\n",
        limits="{ log_kb = 2 }",
    )
    assert run(make_runner(plugin, layers=layers), call=call) == ({}, None)
    assert call.log_tail == "x" * 2044 + "last"
    assert call.usage.log_bytes_dropped == dropped


def test_the_operator_caps_what_is_kept_of_output(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """A manifest may not fill the runner's memory."""
    call = Call()
    plugin = write_plugin(
        "def run(payload): print('x' * 9999); return {}", limits="{ log_kb = 9000 }"
    )
    assert run(make_runner(plugin, caps={"log_kb": 1}), call=call) == ({}, None)
    assert len(call.log_tail) == 1024
    assert call.usage.log_bytes_dropped == 10_000 - 1024


def test_log_records_have_the_same_limit(
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    layers: Layers,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A flood of records is cut off and counted, and fails nothing."""
    call = Call()
    plugin = write_plugin(
        "import logging\n"
        "def run(payload):\n"
        "    for number in range(2000):\n"
        "        logging.getLogger('deep').warning('record %d', number)\n"
        "    return {}\n",
        limits="{ log_kb = 4 }",
    )
    with caplog.at_level(logging.WARNING, "toolrunner.plugin.sample"):
        assert run(make_runner(plugin, layers=layers), call=call) == ({}, None)
    records = [r for r in caplog.records if r.name == "toolrunner.plugin.sample"]
    assert 10 < len(records) < 200
    assert "record 0" in records[0].getMessage()
    assert call.usage.log_bytes_dropped > 50_000
