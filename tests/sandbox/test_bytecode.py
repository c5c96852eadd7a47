"""Compiled modules for boxes: made by the runner from what it trusts, and only read by calls."""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import py_compile
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import WritePlugin
from tests.sandbox.boxes import has_ended, value, wait_until
from toolrunner import PluginRegistry, ToolRunner
from toolrunner.runner.confinement import build_sandbox
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.bytecode import Bytecode
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.spawn import LAUNCH

IMPORTS = """
    import os
    import never_compiled
    def run(payload):
        place = os.path.dirname(never_compiled.__cached__)
        tries = {
            "write": lambda: open(never_compiled.__cached__, "w"),
            "make": lambda: open(place + "/other.pyc", "w"),
            "remove": lambda: os.unlink(never_compiled.__cached__),
        }
        done = []
        for name, function in tries.items():
            try:
                function()
                done.append(name)
            except OSError:
                pass
        return {"word": never_compiled.WORD, "cached": never_compiled.__cached__, "done": done}
"""


@pytest.fixture
def package(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module among the interpreter's packages that nothing has compiled."""
    folder = open_folder / "site-packages"
    folder.mkdir()
    source = folder / "never_compiled.py"
    source.write_text('WORD = "from the source"\n')
    for path in (folder, source):
        path.chmod(0o755)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    return source


@pytest.fixture
def tool_runner(
    package: Path, write_plugin: WritePlugin, open_folder: Path, layers: Layers
) -> Iterator[ToolRunner]:
    """A runner whose plugin imports that module."""
    assert package.exists()
    path = write_plugin(IMPORTS, start='"cold"')
    settings = Settings.load(state=open_folder / "state")
    registry = PluginRegistry.discover([path], settings=settings)
    sandbox = build_sandbox(settings, layers=layers)
    with ToolRunner(registry, settings=settings, sandbox=sandbox) as made:
        yield made


def compiled_files(state: Path) -> list[Path]:
    """Return what the runner has compiled of that module."""
    return [*state.glob("bytecode/*/**/never_compiled.*.pyc")]


def test_a_module_without_a_compiled_file_is_compiled_once_for_all(
    package: Path, tool_runner: ToolRunner, open_folder: Path
) -> None:
    """Later boxes read what the runner has compiled, and cannot write there."""
    first = value(tool_runner.run("sample", {}))
    assert first["word"] == "from the source"
    assert first["cached"] == importlib.util.cache_from_source(str(package))
    wait_until(lambda: compiled_files(open_folder / "state") != [], "it is compiled")
    (compiled,) = compiled_files(open_folder / "state")
    assert str(compiled).endswith(first["cached"])
    # What is read shows that it is read: the same header, and other code.
    other = open_folder / "other.py"
    other.write_text('WORD = "from the cached"\n')
    os.utime(other, ns=(package.stat().st_atime_ns, package.stat().st_mtime_ns))
    assert other.stat().st_size == package.stat().st_size
    py_compile.compile(str(other), cfile=str(compiled), doraise=True)
    compiled.chmod(0o644)
    again = value(tool_runner.run("sample", {}))
    assert again == {"word": "from the cached", "cached": str(compiled), "done": []}
    package.write_text('WORD = "from a new source"\n')
    assert value(tool_runner.run("sample", {}))["word"] == "from a new source"


def test_a_compiled_file_beside_its_source_is_used(
    package: Path, tool_runner: ToolRunner, open_folder: Path
) -> None:
    """Then there is nothing to make."""
    beside = importlib.util.cache_from_source(str(package))
    py_compile.compile(str(package), doraise=True)
    assert value(tool_runner.run("sample", {}))["cached"] == beside
    assert compiled_files(open_folder / "state") == []


def test_a_plugin_can_compile_files_of_its_own(
    write_plugin: WritePlugin, package: Path, open_folder: Path, layers: Layers
) -> None:
    """They go where it expects them, in its scratch."""
    body = """
        import importlib.util, pathlib, py_compile
        def run(payload):
            source = pathlib.Path("mine.py").resolve()
            source.write_text("x = 1")
            named = importlib.util.cache_from_source(source)
            return {"same": py_compile.compile(str(source), doraise=True) == named}
    """
    assert package.exists()
    path = write_plugin(body)
    settings = Settings.load(state=open_folder / "state")
    registry = PluginRegistry.discover([path], settings=settings)
    sandbox = build_sandbox(settings, layers=layers)
    with ToolRunner(registry, settings=settings, sandbox=sandbox) as tool_runner:
        assert value(tool_runner.run("sample", {})) == {"same": True}


def test_only_what_the_runner_trusts_is_compiled(package: Path, tmp_path: Path) -> None:
    """What a box lists may be anything: it is hostile by then."""
    outside = tmp_path / "outside.py"
    outside.write_text("")
    link = package.with_name("link.py")
    link.symlink_to(outside)
    folder = package.with_name("folder.py")
    folder.mkdir()
    listed = [
        str(outside), str(link), str(folder), f"{package.parent}/../site-packages/{package.name}",
        f"{package.parent}/../../outside.py", str(package.with_name("missing.py")), "a\0b.py",
        f"{package}\n", "never_compiled.py", str(package.with_suffix(".txt")), "", 7, None, [[]],
        {"x": 1}, "\ud800.py", f"{package.parent}/\ud800.py",
    ]  # fmt: skip
    bytecode = Bytecode(tmp_path / "bytecode")
    hostile = [json.dumps(listed).encode(), b"[" * 9000, b"{}", b"7", b"\xff", b"[" + b"1," * 9000]
    for body in hostile:
        bytecode.want(body)
    bytecode.close()
    assert not (tmp_path / "bytecode").exists()
    bytecode = Bytecode(tmp_path / "bytecode")
    broken = package.with_name("broken.py")
    broken.write_text("def (:\n")
    bytecode.want(json.dumps([str(broken), *listed, str(package)]).encode())
    wait_until(lambda: compiled_files(tmp_path) != [], "the one good one is compiled")
    bytecode.close()
    assert [path.name.split(".")[0] for path in tmp_path.rglob("*.pyc")] == ["never_compiled"]


def test_a_source_that_is_compiled_does_not_run(package: Path, tmp_path: Path) -> None:
    """Nor is it imported."""
    package.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    bytecode = Bytecode(tmp_path / "bytecode")
    bytecode.want(json.dumps([str(package)]).encode())
    wait_until(lambda: compiled_files(tmp_path) != [], "it is compiled")
    bytecode.close()
    assert not (tmp_path / "ran").exists()


def test_what_looks_for_compiled_files_needs_none_itself() -> None:
    """Each launcher would compile what it imports before it knows where to look."""
    inside = Path(LAUNCH).parent
    program = (
        f"import os, sys; sys.path.insert(0, {str(inside.parent)!r}); before = set(sys.modules)\n"
        "import inside.bytecode\nprint(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"inside", "inside.bytecode"}


COMPILES = """
import json, sys, threading, pathlib
from toolrunner.sandbox.bytecode import Bytecode
bytecode = Bytecode(pathlib.Path(sys.argv[1]))
sources = pathlib.Path(json.__file__).parents[1].glob("*.py")
bytecode.want(json.dumps([str(path) for path in sources]).encode())
print("compiles", flush=True)
threading.Event().wait()
"""


def test_a_killed_runner_leaves_nothing_that_compiles(tmp_path: Path) -> None:
    """It ends after the file that it is at; what is there is whole."""
    command = [sys.executable, "-P", "-c", COMPILES, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"compiles\n"
        wait_until(lambda: [*tmp_path.rglob("*.pyc")] != [], "it compiles")
        started = psutil.Process(runner.pid).children()
        runner.kill()
    wait_until(lambda: all(map(has_ended, started)), "it ends as well")
    assert len(started) == 1
    for path in tmp_path.rglob("*.pyc"):
        marshal.loads(path.read_bytes()[16:])
