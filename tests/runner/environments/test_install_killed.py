"""Installs that are interrupted: at every step, by the end of any process, and by each other."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.faults.host.test_scarce import ROOT
from tests.runner.environments.conftest import Find, Install
from tests.wheels import write_needy, write_sources
from toolrunner.runner.errors import GovernedError
from toolrunner.sandbox.profile import SCRATCH_PREFIX

PATIENCE_SECONDS = 120
_SCRATCH = re.compile(rf"{SCRATCH_PREFIX}\w{{8}}")
# Python tries once where temporary files may be, by a file that a kill would leave behind.
RUNNER = """
import sys
import tempfile
from pathlib import Path
from toolrunner.plugins.instance import plugin_at
from toolrunner.runner.environments.install import Installer
from toolrunner.runner.environments.workshop import Options
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.probe import probe_host

tempfile.gettempdir()
state, wheels, plugin, isolation = sys.argv[1:]
layers = probe_host().layers
if isolation == "no-namespaces":
    layers = layers.without("namespaces")
options = Options(allow_builds=True, offline=True, find_links=(wheels,))
with Installer(Settings(state=Path(state)), options, layers=layers) as installer:
    installer.install(plugin_at(Path(plugin), ""), lambda words: print(words, flush=True))
"""
# It goes on when there is a file beside the packages, which the box may read.
_WAITS = """
    import time
    while not os.path.exists({gate!r}):
        time.sleep(0.01)
    return {{"waiting.py": ""}}
"""


def left(state: Path, temporary: Path) -> list[Path]:
    """Return what an install has left that is neither an environment nor uv's cache.

    A runner that ends while it makes a box, for whatever call, may leave its empty scratch folder.
    """
    others = [path for path in temporary.iterdir() if not _SCRATCH.fullmatch(path.name)]
    others += temporary.glob("toolrunner-*/*")
    return [*(state / "environments/building").iterdir(), *others]


@pytest.mark.parametrize(
    "step", ["resolving", "Resolved", "installing", "Installed", "Bytecode", "taking over"]
)
def test_an_install_that_was_killed_does_not_count(
    step: str, isolation: str, install: Install, find: Find, tmp_path: Path, wheels: Path,
    state: Path, temporary: Path,
) -> None:  # fmt: skip
    """Whatever it was at; the next one finds nothing in its way, and leaves nothing behind."""
    plugin = write_needy(tmp_path, "alpha")
    script = tmp_path / "killed.py"
    script.write_text(RUNNER)
    command = [sys.executable, "-P", str(script), str(state), str(wheels), str(plugin), isolation]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        assert any(line.startswith(step) for line in process.stdout)
        boxes = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(PATIENCE_SECONDS)
    _gone, alive = psutil.wait_procs(boxes, timeout=PATIENCE_SECONDS)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
    if step != "taking over":  # there it may just have been done
        assert find(plugin) is None
    assert install(plugin) is not None
    assert find(plugin) is not None
    assert left(state, temporary) == []


def parts(kind: str) -> psutil.Process:
    """Return one of the processes of the install that runs."""
    ours = psutil.Process().children(recursive=True)
    uv = next(one for one in ours if one.name() == "uv")
    while kind == "build":
        for one in uv.children():  # it says so before there is one
            return one
    return {"uv": uv, "cell": uv.parents()[0], "warden": uv.parents()[1]}[kind]


@pytest.mark.parametrize("kind", ["build", "uv", "cell", "warden"])
def test_any_process_may_end(
    kind: str, install: Install, find: Find, tmp_path: Path, wheels: Path, state: Path,
    temporary: Path,
) -> None:  # fmt: skip
    """uv, what it builds, what runs it, and what holds them: the install fails, and is over."""
    write_sources(wheels, "waiting", _WAITS.format(gate=str(wheels / "gate")))
    plugin = write_needy(tmp_path, "waiting")
    killed: list[psutil.Process] = []

    def kill(words: str) -> None:
        if "Building" in words:
            killed.append(parts(kind))
            killed[0].kill()

    with pytest.raises(GovernedError):
        install(plugin, allow_builds=True, on_progress=kill)
    assert killed
    assert find(plugin) is None
    assert left(state, temporary) == []
    (wheels / "gate").touch()
    assert install(plugin, allow_builds=True) is not None
    assert left(state, temporary) == []


@contextlib.contextmanager
def command(state: Path, wheels: Path, plugin: Path) -> Iterator[subprocess.Popen[str]]:
    """Install by the command line, allowing builds."""
    line = [
        *(sys.executable, "-P", "-m", "toolrunner", "--state", str(state), "--json"),
        *("plugins", "install", str(plugin), "--find-links", str(wheels)),
        *("--offline", "--allow-builds"),
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def heard(process: subprocess.Popen[str], words: str) -> bool:
    """Wait until a command has said something."""
    assert process.stderr is not None
    return any(words in line for line in process.stderr)


def test_of_two_at_once_one_waits(
    find: Find, tmp_path: Path, wheels: Path, state: Path, temporary: Path
) -> None:
    """And then has nothing to do."""
    write_sources(wheels, "waiting", _WAITS.format(gate=str(wheels / "gate")))
    plugin = write_needy(tmp_path, "waiting")
    with command(state, wheels, plugin) as first:
        assert heard(first, "Building")
        with command(state, wheels, plugin) as second:
            assert heard(second, "Another install is under way")
            (wheels / "gate").touch()
            done = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in (first, second)]
            assert (first.returncode, second.returncode) == (0, 0)
    assert [json.loads(text)["how"] for text in done] == ["made", "present"]
    assert find(plugin) is not None
    assert left(state, temporary) == []


def test_a_keyboard_interrupt_ends_it_at_once(
    find: Find, tmp_path: Path, wheels: Path, state: Path, temporary: Path
) -> None:
    """With status 130, no process and nothing else left."""
    write_sources(wheels, "waiting", _WAITS.format(gate=str(wheels / "gate")))
    plugin = write_needy(tmp_path, "waiting")
    with command(state, wheels, plugin) as process:
        assert heard(process, "Building")
        boxes = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert heard(process, "interrupted: removing what is unfinished")
        assert heard(process, "interrupted; whatever ran was killed")
        assert process.wait(PATIENCE_SECONDS) == 130
    _gone, alive = psutil.wait_procs(boxes, timeout=PATIENCE_SECONDS)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
    assert find(plugin) is None
    assert left(state, temporary) == []
