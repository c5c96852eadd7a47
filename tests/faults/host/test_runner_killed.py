"""The runner killed where no call runs: while a plugin is loaded, and with warm boxes that wait.

During a call it is tried in tests/sandbox/test_lifecycle.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.conftest import WritePlugin
from tests.faults.host.test_scarce import ROOT

PATIENCE_SECONDS = 120
PLUGIN = """
    import logging
    import time

    logging.warning("importing")
    time.sleep({seconds})

    def run(payload):
        return {{"fine": True}}
"""
# It says so when the import has begun, and when it has a warm box with cells that stand by.
RUNNER = """
import logging, sys, threading
from pathlib import Path
from toolrunner import PluginRegistry, ToolRunner
from toolrunner.sandbox.probe import probe
from toolrunner.sandbox.sandbox import Sandbox
from toolrunner.sandbox.spawn import Spawner

class Says(logging.Handler):
    def emit(self, record):
        print("loading", flush=True)

logging.getLogger("toolrunner.plugin.sample").addHandler(Says())
layers = probe(Spawner()).layers
if sys.argv[2] == "no-namespaces":
    layers = layers.without("namespaces")
registry = PluginRegistry.discover([Path(sys.argv[1])])
tool_runner = ToolRunner(registry, sandbox=Sandbox(layers=layers))
tool_runner.run("sample", {})
print(tool_runner.start("sample").mode, flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize(("word", "seconds"), [("loading", 60), ("warm", 0)])
def test_nothing_of_its_boxes_is_left(
    word: str,
    seconds: int,
    isolation: str,
    write_plugin: WritePlugin,
    tmp_path: Path,
    temporary: Path,
) -> None:
    """No process, and no file, once the boxes have noticed."""
    script = tmp_path / "killed.py"
    script.write_text(RUNNER)
    plugin = write_plugin(PLUGIN.format(seconds=seconds), limits="{ load_seconds = 60 }")
    command = [sys.executable, "-P", str(script), str(plugin), isolation]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        assert f"{word}\n" in process.stdout
        boxes = psutil.Process(process.pid).children(recursive=True)
        assert len(boxes) >= 2
        process.kill()
        process.wait(PATIENCE_SECONDS)
    _gone, alive = psutil.wait_procs(boxes, timeout=PATIENCE_SECONDS)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
    assert list(temporary.iterdir()) == []
