"""What environments cost: a list of many plugins that have one, and a call in one.

They are installed for real, from the index that uv knows, of packages that are small.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import work
from benchmarks.growth import quantile, succeeded
from toolrunner import PluginRegistry, ToolRunner
from toolrunner.runner.settings.settings import Settings

PLUGINS = 100
VERSIONS = {
    "six": ("1.13.0", "1.14.0", "1.15.0", "1.16.0"),
    "idna": ("3.4", "3.6", "3.7", "3.10"),
    "certifi": ("2023.7.22", "2024.2.2", "2024.6.2", "2024.7.4"),
    "attrs": ("22.2.0", "23.1.0", "23.2.0", "24.2.0"),
    "packaging": ("23.0", "23.1", "24.0", "24.1"),
}
ENVIRONMENTS = [f"{name}=={version}" for name, all_of in VERSIONS.items() for version in all_of]
SHARED = "psutil"  # the runner has it; a call imports it in both
Figures = dict[str, Any]


@contextmanager
def installed(plugins: dict[str, dict[str, str]]) -> Iterator[tuple[Path, Path]]:
    """Give a folder of plugins, by name with their manifests' options, and their state folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "plugins").mkdir()
        for plugin, options in plugins.items():
            work.write_plugin(folder / "plugins", plugin, work.source("stdlib"), **options)
        command(folder, "plugins", "install")
        yield folder / "plugins", folder / "state"


def command(folder: Path, *arguments: str) -> None:
    """Run the command line on the plugins of a folder; end the measurement if it fails."""
    options = ("--plugins", folder / "plugins", "--state", folder / "state")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "toolrunner", *options, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"toolrunner {' '.join(arguments)} failed: {done.stderr[-2000:]}")


def listed(_number: int, calls: int) -> Figures:
    """The milliseconds of ``toolrunner plugins list``, from its start to its end, the median."""
    plugins = {
        f"p{number}": {"dependencies": f'["{ENVIRONMENTS[number % len(ENVIRONMENTS)]}"]'}
        for number in range(PLUGINS)
    }
    taken = []
    with installed(plugins) as (folder, state):
        wanted = (state / "environments" / "wanted").glob("*.json")
        environments = {json.loads(path.read_text("utf-8"))["digest"] for path in wanted}
        for _ in range(calls):
            started = time.perf_counter()
            command(folder.parent, "plugins", "list")
            taken.append(time.perf_counter() - started)
    return {
        "plugins": PLUGINS,
        "environments": len(environments),
        "list_ms": quantile(taken, 50),
    }


def called(number: int, calls: int) -> Figures:
    """A call in an environment of the plugin's own beside one in the runner's, in turns.

    ``number``: 1 for cold calls. Medians in milliseconds, and their ratio.
    """
    version = importlib.metadata.version(SHARED)
    options = {
        "dependencies": f'["{SHARED}=={version}"]',
        "start": "cold" if number else "warm",
    }
    kinds = ("own", "runner")
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    plugins = {kind: {**options, "environment": kind} for kind in kinds}
    with installed(plugins) as (folder, state):
        settings = Settings(state=state)
        registry = PluginRegistry.discover([folder], settings=settings)
        with ToolRunner(registry, settings=settings) as tool_runner:
            for turn in range(calls + 1):
                for kind in kinds if turn % 2 else reversed(kinds):
                    started = time.perf_counter()
                    succeeded(tool_runner.run(kind, work.PAYLOAD))
                    if turn:  # the first call loads
                        taken[kind].append(time.perf_counter() - started)
    own, runner = (quantile(taken[kind], 50) for kind in kinds)
    return {"ms": own, "with_the_runners_packages_ms": runner, "ratio": own / runner}


PARTS = {"listed": listed, "called": called}
