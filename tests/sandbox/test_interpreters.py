"""Interpreters beside the runner's own: which are taken, and what a box shows of them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import psutil
import pytest

from tests import environments
from tests.conftest import WritePlugin
from tests.sandbox.boxes import value
from toolrunner import PluginRegistry, ToolRunner
from toolrunner.runner.confinement import build_sandbox
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox import interpreter
from toolrunner.sandbox.interpreter import UnusableError, held, with_packages
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.root_host import refusal
from toolrunner.sandbox.spawn import Kind, Spawner

ANSWER = {
    "version": "3.99", "number": [3, 99], "kind": "", "prefixes": ["/usr"],
    "standard": ["/usr/lib/python3.99"], "packages": [],
}  # fmt: skip


def says(path: Path, **answer: object) -> str:
    """Write what answers as an interpreter would that is asked what it is."""
    text = json.dumps({**ANSWER, **answer})
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)
    return str(path)


def test_the_runners_own_has_its_packages() -> None:
    """And is asked nothing."""
    own = interpreter.own()
    assert own.executable == sys.executable
    assert own.packages == ()
    assert any(path.endswith("-packages") for path in own.module_path)


def test_another_has_the_packages_that_it_is_given(tmp_path: Path) -> None:
    """With its own standard library, and none that lie beside that."""
    found = with_packages(os.path.realpath(sys.executable), (str(tmp_path),))
    assert found.module_path[-1] == str(tmp_path)
    assert not [path for path in found.standard if "packages" in path]
    assert str(tmp_path) in found.needs
    assert found.state != with_packages(os.path.realpath(sys.executable), ("/usr",)).state


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"kind": "a free-threaded build"}, "is a free-threaded build; boxes are run by"),
        ({"kind": "a debug build"}, "is a debug build; boxes are run by"),
        ({"kind": "pypy"}, "is pypy; boxes are run by an ordinary CPython from 3.11 on"),
        ({"number": [3, 10]}, "is Python 3.10; boxes are run by"),
        ({"standard": 3}, "cannot be used: it does not answer as a Python does"),
    ],
)
def test_what_cannot_run_a_box_is_refused_by_name(
    open_folder: Path, answer: dict[str, object], words: str
) -> None:
    """Before anything is started for a call."""
    with pytest.raises(UnusableError, match=words):
        with_packages(says(open_folder / "python3.99", **answer), ())


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho no\n", ""])
def test_what_is_no_interpreter_is_refused(open_folder: Path, text: str) -> None:
    """Whatever it does."""
    path = open_folder / "python3.99"
    path.write_text(text)
    path.chmod(0o755)
    with pytest.raises(UnusableError, match="cannot be used"):
        with_packages(str(path), ())
    path.unlink()
    with pytest.raises(UnusableError, match="is not there"):
        with_packages(str(path), ())


def test_an_interpreter_that_others_can_change_is_refused(open_folder: Path) -> None:
    """It is run before a box has given anything up, and so with the runner's rights."""
    path = says(open_folder / "python3.99")
    assert with_packages(path, ()).executable == path
    open_folder.chmod(0o777)
    other = says(open_folder / "python3.98")
    with pytest.raises(UnusableError, match=f"every user can change {open_folder}"):
        with_packages(other, ())
    open_folder.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(other, 12345, 12345)
        with pytest.raises(UnusableError, match="belongs to user 12345"):
            with_packages(other, ())


def test_what_a_box_holds_is_let_go_of_when_it_fails(tmp_path: Path) -> None:
    """Whatever happens meanwhile."""
    keep = tmp_path / "record"
    keep.touch()
    python = interpreter.Interpreter(sys.executable, (), (), "", keep=str(keep))
    before = os.listdir("/proc/self/fd")

    def fail() -> None:
        with held(python):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    keep.unlink()
    with pytest.raises(OSError, match="the environment has been removed"), held(python):
        pass
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's boxes have another user")
def test_an_environment_that_the_boxs_user_cannot_reach_is_refused(
    open_folder: Path, host_layers: Layers
) -> None:
    """Where the box has no root of its own; with what to do."""
    packages = open_folder / "state/site-packages"
    packages.mkdir(parents=True)
    packages.parent.chmod(0o700)
    python = with_packages(os.path.realpath(sys.executable), (str(packages),))
    layers = host_layers.without("namespaces")
    failure = refusal(layers, 61184, python)
    assert failure is not None
    assert "to the plugin's environment" in failure.message
    assert f"chmod o+x {packages.parent}" in failure.remedy
    packages.parent.chmod(0o711)
    assert refusal(layers, 61184, python) is None


def test_few_launchers_wait_that_are_of_other_interpreters() -> None:
    """Those of the interpreters that were used last; with their owner all of them end."""
    before = len(psutil.Process().children())
    spawner = Spawner()
    for number in range(6):
        spawner.take(Kind(sys.executable, f"/nowhere/{number}")).discard()
    spawner.run_probe("61184").communicate()  # made by the same thread, after all of these
    assert len(psutil.Process().children()) - before == 4
    spawner.close()
    assert len(psutil.Process().children()) == before


LISTS = """
    import os
    def run(payload):
        found = {}
        for path in payload["paths"]:
            try:
                found[path] = os.listdir(path)
            except OSError:
                found[path] = None
        return {"found": found}
"""


def test_packages_beside_an_interpreter_are_hidden(
    write_plugin: WritePlugin, open_folder: Path, host_layers: Layers
) -> None:
    """Where the box has a root of its own: those of this interpreter, and the runner's."""
    if "mount" not in host_layers.namespaces:
        pytest.skip("this kernel gives this user no mount namespace (CLONE_NEWNS is refused)")
    version, python = next(iter(environments.other_pythons().items()))
    path = write_plugin(LISTS, dependencies='["tiny"]', requires_python=f'"=={version}.*"')
    state = open_folder / "state"
    environments.install(state, path, python=python)
    settings = Settings.load(state=state)
    registry = PluginRegistry.discover([path], settings=settings)
    hidden = with_packages(os.path.realpath(python), ()).hides
    with ToolRunner(
        registry, settings=settings, sandbox=build_sandbox(settings, layers=host_layers)
    ) as tool_runner:
        found = value(tool_runner.run("sample", {"paths": list(hidden)}))["found"]
    assert any(os.path.exists(path) and os.listdir(path) for path in hidden)
    assert set(interpreter.own_module_path()) & set(hidden)
    assert {p: f for p, f in found.items() if f} == {}
