"""What libraries look for in a box is there, and tells no more of the host than it must."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import PluginRegistry, ToolRunner
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.quiet_environment import QUIET

CPU = Path("/sys/devices/system/cpu")


def test_a_box_knows_how_many_processors_there_are_and_no_more(
    layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Some libraries end without these files; others of that folder count what the host does."""
    shown = [name for name in ("possible", "present", "online") if (CPU / name).exists()]
    if not shown:
        pytest.skip("this host has no /sys/devices/system/cpu")
    path = write_plugin("""
    import os
    def run(payload):
        found = {}
        for folder, _, names in os.walk("/sys"):
            for name in names:
                try:
                    found[os.path.join(folder, name)] = open(os.path.join(folder, name)).read()
                except OSError:
                    pass
        for name in payload["names"]:
            try:
                found[name] = open(name).read()
            except OSError:
                pass
        return {"found": found}
    """)
    names = [str(path) for path in CPU.glob("cpu0/*/*")]
    names += [str(CPU / "kernel_max"), "/sys/kernel/mm/transparent_hugepage/enabled"]
    names += [str(CPU / name) for name in shown]
    result, error = make_runner(path, layers=layers).run("sample", {"names": names})
    assert error is None, error
    assert result["found"] == {str(CPU / name): (CPU / name).read_text() for name in shown}


def test_affinity_may_be_asked_for_and_stays(
    layers: Layers, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Libraries pin their threads: that is no error, and no way out of the runner's processors."""
    path = write_plugin("""
    import os, threading
    def run(payload):
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, before)
        os.sched_setaffinity(threading.get_native_id(), {min(before)})
        return {"before": sorted(before), "after": sorted(os.sched_getaffinity(0))}
    """)
    result, error = make_runner(path, layers=layers).run("sample", {})
    assert error is None, error
    own = sorted(os.sched_getaffinity(0))
    assert result == {"before": own, "after": own}


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_of_numeric_libraries_are_the_operators_to_raise(
    threads: int, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """One by default; each library reads a variable of its own."""
    path = write_plugin("import os\ndef run(payload):\n    return dict(os.environ)\n")
    raised = {"threads_per_call": threads} if threads > 1 else {}
    settings = Settings.load(state=tmp_path / "state", **raised)
    registry = PluginRegistry.discover([path], settings=settings)
    with ToolRunner(registry, settings=settings) as tool_runner:
        result, error = tool_runner.run("sample", {})
    assert error is None, error
    names = {name for name in QUIET if "THREADS" in name}
    assert {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"} <= names
    assert {result[name] for name in names} == {str(threads)}
    others = {name: value for name, (value, _) in QUIET.items() if name not in names}
    assert {name: result[name] for name in others} == others
