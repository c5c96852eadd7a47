"""A file that is larger than all memory that anybody may use for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import WritePlugin

COUNTS = """
    def run(payload):
        size = 0
        with open(payload["files"][0]["path"], "rb") as file:
            while piece := file.read(1 << 20):
                size += len(piece)
        return {"size": size}
"""
CALLS = """
import json, resource, sys
from pathlib import Path
from toolrunner import Call, PluginRegistry, ToolRunner
from toolrunner.runner.settings.settings import Settings

plugin, state, large, small = sys.argv[1:]
settings = Settings.load(state=Path(state))
registry = PluginRegistry.discover([plugin], settings=settings)
with ToolRunner(registry, settings=settings) as tool_runner:
    tool_runner.run("sample", {"files": [Path(small)]})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call = Call()
    result, error = tool_runner.run("sample", {"files": [Path(large)]}, call=call)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([result, error, call.usage.peak_memory_bytes, grown * 1024]))
"""


def test_a_large_file_costs_nobody_memory(write_plugin: WritePlugin, tmp_path: Path) -> None:
    """500 MB, with a limit of 128 MB for the call; the runner itself does not grow by them."""
    plugin = write_plugin(COUNTS, input="files", limits="{ memory_mb = 128, payload_mb = 600 }")
    large, small = tmp_path / "large.bin", tmp_path / "small.bin"
    small.write_bytes(b"x")
    with large.open("wb") as file:
        file.truncate(500_000_000)
    command: list[str | Path] = [sys.executable, "-P", "-c", CALLS, plugin]
    command += [tmp_path / "state", large, small]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result, error, peak, grown = json.loads(done.stdout)
    assert error is None
    assert result == {"size": 500_000_000}
    assert peak < 64 << 20
    assert grown < 32 << 20
    large.unlink()
