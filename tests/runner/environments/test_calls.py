"""What a plugin with an environment sees when it is called, in each mode and isolation."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import environments
from tests.conftest import WritePlugin
from tests.sandbox.boxes import value, wait_until
from toolrunner import Call, PluginRegistry, ToolRunner
from toolrunner.plugins.instance import plugin_at
from toolrunner.runner.confinement import build_sandbox
from toolrunner.runner.environments.choice import Environments
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.bytecode import AllBytecode
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.spawn import LAUNCH

OTHERS = environments.other_pythons()
MakeOwn = Callable[..., ToolRunner]
DEPENDENCIES = '["tiny"]'
LOOKS = """
    import sys
    import tiny
    def run(payload):
        found = {}
        for name in ("numpy", "pydantic", "psutil", "toolrunner"):
            try:
                __import__(name)
                found[name] = True
            except ModuleNotFoundError:
                found[name] = False
        return {"tiny": tiny.VERSION, "found": found, "path": sys.path, "prefix": sys.prefix,
                "executable": sys.executable, "version": list(sys.version_info[:2])}
"""


@pytest.fixture
def state(open_folder: Path) -> Path:
    """A state folder whose environments the user of a box can get at."""
    return open_folder / "state"


@pytest.fixture
def runner_of(state: Path, layers: Layers) -> Iterator[MakeOwn]:
    """Return a function that makes a runner for plugin files; all are closed after."""
    with contextlib.ExitStack() as stack:

        def make(*paths: Path, **settings: Any) -> ToolRunner:
            loaded = Settings.load(state=state, **settings)
            registry = PluginRegistry.discover(paths, settings=loaded)
            sandbox = build_sandbox(loaded, layers=layers)
            return stack.enter_context(ToolRunner(registry, settings=loaded, sandbox=sandbox))

        yield make


def called(tool_runner: ToolRunner, **payload: object) -> tuple[dict[str, Any], str]:
    """Call the plugin; return its result and the mode in which it ran."""
    call = Call()
    return value(tool_runner.run("sample", payload, call=call)), call.isolation.mode


def is_refused(tool_runner: ToolRunner) -> bool:
    """Call the plugin; tell whether it is refused for want of its environment."""
    _, error = tool_runner.run("sample", {})
    assert error is not None
    words = error["error"]["message"].split()
    assert words[-6:-3] == ["toolrunner", "plugins", "install"]
    assert words[-1].endswith("/sample.py")
    return error["error"]["type"] == "PluginUnavailable"


@pytest.mark.parametrize("start", ["auto", "cold", "resident"])
def test_a_plugin_sees_its_environment_and_nothing_else(
    write_plugin: WritePlugin, state: Path, runner_of: MakeOwn, start: str
) -> None:
    """The standard library and the environment's packages; of the runner's own nothing."""
    path = write_plugin(LOOKS, start=f'"{start}"', dependencies=DEPENDENCIES)
    folder = environments.install(state, path)
    found, mode = called(runner_of(path, allow_resident=["sample"]))
    assert found["tiny"] == "1.0"
    assert found["found"] == dict.fromkeys(found["found"], False)
    assert found["path"][-1] == str(next(folder.glob("lib/*/site-packages")))
    assert not [path for path in found["path"] if path.startswith(f"{sys.prefix}/")]
    assert mode == {"auto": "warm", "cold": "cold", "resident": "resident"}[start]


@pytest.mark.parametrize("start", ["auto", "cold", "resident"])
@pytest.mark.parametrize(("version", "python"), OTHERS.items(), ids=OTHERS)
def test_another_interpreter_runs_what_requires_it(
    write_plugin: WritePlugin,
    state: Path,
    runner_of: MakeOwn,
    version: str,
    python: str,
    start: str,
) -> None:
    """In every mode, with its own standard library, and as well as the runner's own."""
    path = write_plugin(
        LOOKS, start=f'"{start}"', dependencies=DEPENDENCIES, requires_python=f'"=={version}.*"'
    )
    environments.install(state, path, python=python)
    tool_runner = runner_of(path, allow_resident=["sample"])
    for _ in range(3):
        found, mode = called(tool_runner)
        assert found["version"] == [int(part) for part in version.split(".")]
        assert found["executable"] == os.path.realpath(python)
        assert (found["tiny"], set(found["found"].values())) == ("1.0", {False})
        assert mode == {"auto": "warm", "cold": "cold", "resident": "resident"}[start]


def test_two_plugins_have_two_versions_of_one_library(
    write_plugin: WritePlugin, state: Path, runner_of: MakeOwn
) -> None:
    """Side by side in one runner."""
    body = "import tiny\ndef run(payload): return {'version': tiny.VERSION}\n"
    old = write_plugin(body, name="old", dependencies='["tiny<2"]')
    new = write_plugin(body, name="new", dependencies='["tiny>=2"]')
    environments.install(state, old)
    environments.install(state, new, packages={"tiny 2.0": {"tiny.py": "VERSION = '2.0'\n"}})
    tool_runner = runner_of(old, new)
    for _ in range(2):
        assert value(tool_runner.run("old", {})) == {"version": "1.0"}
        assert value(tool_runner.run("new", {})) == {"version": "2.0"}


STARTS = """
    import json, multiprocessing, subprocess, sys
    QUESTION = (
        "import json, importlib.util as u\\n"
        "print(json.dumps([u.find_spec(n) is not None for n in ('tiny', 'pydantic', 'numpy')]))"
    )
    def look(end):
        import importlib.util as u
        end.send([u.find_spec(name) is not None for name in ("tiny", "pydantic", "numpy")])
    def run(payload):
        out = subprocess.run([sys.executable, "-c", QUESTION], capture_output=True, check=True)
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        child = spawn.Process(target=look, args=(theirs,))
        child.start()
        found = ours.recv()
        child.join()
        return {"program": json.loads(out.stdout), "child": found}
"""


def test_what_a_plugin_starts_sees_the_same(
    write_plugin: WritePlugin, state: Path, runner_of: MakeOwn
) -> None:
    """Interpreters of its own, by multiprocessing and as a program."""
    path = write_plugin(STARTS, dependencies=DEPENDENCIES)
    environments.install(state, path)
    found, _ = called(runner_of(path))
    assert found == {"program": [True, False, False], "child": [True, False, False]}


WRITES = """
    import os, tiny
    def run(payload):
        site = os.path.dirname(tiny.__file__)
        tries = {
            "make": lambda: open(site + "/mine.py", "w"),
            "change": lambda: open(tiny.__file__, "a"),
            "remove": lambda: os.unlink(tiny.__file__),
            "rename": lambda: os.rename(tiny.__file__, site + "/other.py"),
            "mode": lambda: os.chmod(tiny.__file__, 0o777),
            "times": lambda: os.utime(tiny.__file__, (0, 0)),
            "record": lambda: open(payload["record"], "a"),
            "others": lambda: os.listdir(payload["store"]).index("wanted"),
        }
        done = []
        for name, function in tries.items():
            try:
                function()
                done.append(name)
            except (OSError, ValueError):
                pass
        return {"done": done}
"""


@pytest.mark.parametrize("start", ["auto", "cold"])
def test_an_environment_is_only_read(
    write_plugin: WritePlugin, state: Path, runner_of: MakeOwn, start: str
) -> None:
    """Whoever runs the runner; and of the other environments nothing is seen."""
    path = write_plugin(WRITES, dependencies=DEPENDENCIES, start=f'"{start}"')
    folder = environments.install(state, path)
    before = {one: one.stat().st_mtime_ns for one in folder.rglob("*")}
    found, _ = called(
        runner_of(path), record=str(folder / "environment.json"), store=str(folder.parent)
    )
    assert found == {"done": []}
    assert {one: one.stat().st_mtime_ns for one in folder.rglob("*")} == before


HOOKS = {
    "tiny 1.0": {
        "tiny.py": "VERSION = '1.0'\n",
        "evil.pth": "import sys; sys.modules['ran_pth'] = sys\n",
        "path.pth": "elsewhere\n",
        "elsewhere/hidden.py": "",
        "sitecustomize.py": "import sys; sys.modules['ran_custom'] = sys\n",
        "usercustomize.py": "import sys; sys.modules['ran_custom'] = sys\n",
        "tiny-1.0.dist-info/entry_points.txt": "[toolrunner.plugins]\nx = tiny:run\n",
    }
}
FINDS = """
    import importlib.util, sys
    def run(payload):
        ran = [name for name in sys.modules if name.startswith("ran_")]
        return {"ran": ran, "hidden": importlib.util.find_spec("hidden") is not None}
"""


@pytest.mark.parametrize("start", ["auto", "cold", "resident"])
def test_no_hook_of_an_environment_runs(
    write_plugin: WritePlugin, state: Path, runner_of: MakeOwn, start: str
) -> None:
    """Neither .pth files nor sitecustomize, in no process of ours; entry points are not read."""
    path = write_plugin(FINDS, dependencies=DEPENDENCIES, start=f'"{start}"')
    environments.install(state, path, packages=HOOKS)
    tool_runner = runner_of(path, allow_resident=["sample"])
    found, _ = called(tool_runner)
    assert found == {"ran": [], "hidden": False}
    assert not [name for name in sys.modules if name.startswith("ran_")]
    assert "x" not in tool_runner.registry.list_plugins()


def test_an_installation_that_is_finished_is_used_by_the_next_call(
    write_plugin: WritePlugin, state: Path, runner_of: MakeOwn
) -> None:
    """Until then calls are refused with what to do, and after its end they are again."""
    path = write_plugin(LOOKS, dependencies=DEPENDENCIES)
    tool_runner = runner_of(path)
    assert is_refused(tool_runner)
    environments.install(state, path)
    assert called(tool_runner)[0]["tiny"] == "1.0"
    environments.remove(state, path)
    assert is_refused(tool_runner)


LATER = """
    def run(payload):
        import importlib
        import tiny
        return {"tiny": importlib.reload(tiny).VERSION}
"""


@pytest.mark.parametrize("start", ["auto", "cold", "resident"])
def test_an_environment_that_is_gone_is_not_the_plugins_fault(
    write_plugin: WritePlugin, state: Path, runner_of: MakeOwn, start: str
) -> None:
    """Removed by hand, with its name still there: nothing of the plugin runs, and it says so.

    A new installation heals it, boxes that wait with what was removed included.
    """
    path = write_plugin(LATER, dependencies=DEPENDENCIES, start=f'"{start}"')
    folder = environments.install(state, path)
    os.utime(folder.parent / "wanted", (1e9, 1e9))  # so that nothing seems to have changed since
    tool_runner = runner_of(path, allow_resident=["sample"])
    for _ in range(2):
        assert called(tool_runner)[0]["tiny"] == "1.0"
    shutil.rmtree(folder)
    assert is_refused(tool_runner)
    assert tool_runner.registry.get_state("sample") == "UNAVAILABLE"
    assert environments.install(state, path) == folder
    for _ in range(2):
        assert called(tool_runner)[0]["tiny"] == "1.0"
    shutil.rmtree(folder)
    os.utime(folder.parent / "wanted", (1e9, 1e9))
    statuses = {one.name: one for one in tool_runner.registry.list_all()}
    assert (statuses["sample"].state, statuses["sample"].environment) == ("UNAVAILABLE", "")


def test_a_box_keeps_its_environment(
    write_plugin: WritePlugin, state: Path, runner_of: MakeOwn
) -> None:
    """Whoever would remove it sees that it is used, for as long as there is a box."""
    path = write_plugin(LOOKS, dependencies=DEPENDENCIES)
    record = environments.install(state, path) / "environment.json"
    tool_runner = runner_of(path)
    assert called(tool_runner)[1] == "warm"
    with record.open() as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tool_runner.close()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_another_interpreters_modules_are_compiled_by_it(
    write_plugin: WritePlugin, state: Path, tmp_path: Path
) -> None:
    """Its standard library and our own files; never an environment's, which are not trusted."""
    version, python = next(iter(OTHERS.items()))
    path = write_plugin(LOOKS, dependencies=DEPENDENCIES, requires_python=f'"=={version}.*"')
    folder = environments.install(state, path, python=python)
    interpreter = Environments(state).choose(plugin_at(path, "")).interpreter()
    assert interpreter is not None
    compiled = AllBytecode(tmp_path / "bytecode")
    sources = [*folder.rglob("tiny.py"), Path(LAUNCH).with_name("worker.py")]
    compiled.of(interpreter).want(json.dumps([str(one) for one in sources]).encode())
    wait_until(lambda: [*tmp_path.rglob("*.pyc")] != [], "it is compiled")
    compiled.close()
    tag = f"cpython-{version.replace('.', '')}"
    assert [one.name for one in tmp_path.rglob("*.pyc")] == [f"worker.{tag}.pyc"]
