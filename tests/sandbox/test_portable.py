"""The degraded mode of other systems, forced on this one: process groups, rlimits, the watchdog."""

from __future__ import annotations

import os

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner.sandbox.layers import Layers


def test_it_is_refused_without_the_operators_word(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Below the floor nothing runs by itself."""
    tool_runner = make_runner(
        write_plugin("def run(payload): return {}"), layers=Layers(rlimits=True, portable=True)
    )
    result, error = tool_runner.run("sample", {})
    assert result is None
    assert error is not None
    assert error["error"]["type"] == "SandboxError"
    assert "TOOLRUNNER_ISOLATION=degraded" in error["error"]["details"]["remedy"]


def test_a_call_works_and_is_never_root(
    write_plugin: WritePlugin, make_runner: MakeRunner, portable: Layers
) -> None:
    """Root's boxes become an unprivileged user here as well; every call is a new process."""
    plugin = write_plugin(
        """
        import os

        calls = 0

        def run(payload):
            global calls
            calls += 1
            return {"calls": calls, "uid": os.getuid(), "secret": os.environ.get("TEST_SECRET")}
        """
    )
    tool_runner = make_runner(plugin, layers=portable, degraded=True)
    for _ in range(2):
        result, error = tool_runner.run("sample", {})
        assert error is None
        assert result is not None
        assert result["calls"] == 1
        assert result["secret"] is None
        assert result["uid"] != 0
        assert result["uid"] == os.getuid() or os.getuid() == 0


@pytest.mark.parametrize(
    ("body", "error_type", "limits"),
    [
        ("while True: pass", "CpuLimitExceeded", "cpu_seconds = 1"),
        ("time.sleep(1000)", "TimeLimitExceeded", "wall_seconds = 2"),
        ("x = bytearray(1 << 30)", "MemoryLimitExceeded", "memory_mb = 128"),
        ("os._exit(3)", "PluginCrashed", ""),
        ("os.abort()", "PluginCrashed", ""),
        ("raise ValueError('no')", "ExecutionError", ""),
        (
            "os.fork() or time.sleep(1000); time.sleep(1000)",
            "TimeLimitExceeded",
            "wall_seconds = 2",
        ),
    ],
)
def test_limits_and_crashes_are_what_they_are_elsewhere(
    body: str,
    error_type: str,
    limits: str,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    portable: Layers,
) -> None:
    """The envelope says the same, and that there is hardly a layer."""
    plugin = write_plugin(
        f"import os, time\ndef run(payload):\n    {body}\n",
        limits=f"{{ {limits} }}",
    )
    tool_runner = make_runner(plugin, layers=portable, degraded=True)
    result, error = tool_runner.run("sample", {})
    assert result is None
    assert error is not None
    assert error["error"]["type"] == error_type, error
    isolation = error["error"]["details"]["isolation"]
    assert isolation["layers"] == ["rlimits", "watchdog"]
    assert "call_isolation" in isolation["missing"]
