"""Probe the host this process finds itself on, run one call, print both as JSON.

python report_host.py PLUGIN_FILE [degraded]
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from toolrunner import PluginRegistry, ToolRunner
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.probe import probe_host
from toolrunner.sandbox.sandbox import Sandbox


def main() -> None:
    """Report what was found and how the call ended."""
    host = probe_host()
    settings = Settings.load()
    registry = PluginRegistry.discover([Path(sys.argv[1])], settings=settings)
    sandbox = Sandbox(degraded="degraded" in sys.argv)
    with ToolRunner(registry, settings=settings, sandbox=sandbox) as tool_runner:
        result, error = tool_runner.run("sample", {})
        isolation = asdict(sandbox.isolation())
    trials = {trial.layer: asdict(trial) for trial in host.trials}
    print(json.dumps({"trials": trials, "isolation": isolation, "result": result, "error": error}))


if __name__ == "__main__":
    main()
