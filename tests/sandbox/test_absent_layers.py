"""Hosts on which one layer is really absent: the probe sees it, and calls do what they can."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WritePlugin, layers_of_this_host, skip_unless_taken
from toolrunner.sandbox.layers import Layers

HERE = Path(__file__).parent
PLUGIN = """
    def run(payload):
        try:
            open("/etc/shadow.of.nobody")
        except OSError:
            pass
        return {"fine": True}
"""
REFUSED_WITH = {
    "namespaces.user": errno.EPERM,
    "namespaces.mount": errno.EPERM,
    "namespaces.pid": errno.EPERM,
    "namespaces.net": errno.EPERM,
    "namespaces.ipc": errno.EPERM,
    "namespaces.uts": errno.EPERM,
    "landlock": errno.ENOSYS,
    "seccomp": errno.EINVAL,
    "rlimits": errno.EPERM,
}
NEEDED_BY_THE_FLOOR = ("seccomp",)


def report(feature: str, plugin: Path, *words: str) -> dict[str, Any]:
    """Return what a process sees that lives without ``feature``."""
    # A process under Landlock, which is what hides /proc, can neither map users nor mount.
    gone = "namespaces" if feature == "proc-files" else feature
    if gone.startswith("namespaces"):
        skip_unless_taken(layers_of_this_host().without(gone))
    command = [sys.executable, "-P", str(HERE / "refusing.py"), feature]
    command += [sys.executable, "-P", str(HERE / "report_host.py"), str(plugin), *words]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("layer", REFUSED_WITH)
def test_a_layer_that_is_refused_is_found_missing(layer: str, write_plugin: WritePlugin) -> None:
    """The trial names the errno and a remedy; the layer shows as missing; nothing is silent."""
    found = report(layer, write_plugin(PLUGIN))
    trial = found["trials"][layer]
    assert trial["ok"] is False
    assert trial["errno"] == REFUSED_WITH[layer]
    assert trial["remedy"]
    assert layer in found["isolation"]["missing"]
    if layer in NEEDED_BY_THE_FLOOR:
        assert found["error"]["error"]["type"] == "SandboxError"
        assert found["error"]["error"]["details"]["remedy"]
    else:
        assert found["result"] == {"fine": True}, found["error"]


@pytest.mark.parametrize("layer", NEEDED_BY_THE_FLOOR)
def test_under_the_floor_only_the_operators_word_runs_a_call(
    layer: str, write_plugin: WritePlugin
) -> None:
    """Degraded isolation works, and says in every envelope what is missing."""
    found = report(layer, write_plugin(PLUGIN), "degraded")
    assert found["result"] == {"fine": True}, found["error"]
    assert layer in found["isolation"]["missing"]


def test_a_container_that_forbids_namespaces_still_confines(write_plugin: WritePlugin) -> None:
    """Docker's default: no namespaces, but Landlock, seccomp, rlimits and the watchdog."""
    found = report("namespaces", write_plugin(PLUGIN))
    assert found["result"] == {"fine": True}, found["error"]
    on = {name.split(":")[0] for name in found["isolation"]["layers"]}
    assert on - {"cgroup"} == {"landlock", "seccomp", "rlimits", "watchdog", "call_isolation"}


def test_without_proc_the_kernels_limits_remain(write_plugin: WritePlugin) -> None:
    """A host that hides /proc has no watchdog; calls run under the kernel's own limits."""
    found = report("proc-files", write_plugin(PLUGIN))
    assert found["trials"]["watchdog"]["ok"] is False
    assert "watchdog" in found["isolation"]["missing"]
    assert found["result"] == {"fine": True}, found["error"]


def test_this_host_has_what_the_suite_is_about(host_layers: Layers) -> None:
    """Landlock, seccomp, rlimits and the watchdog: without them the tests would show nothing."""
    assert host_layers.landlock >= 1
    assert host_layers.seccomp
    assert host_layers.rlimits
    assert host_layers.watchdog
