"""Caches that an import writes: its calls read them, the next load finds them, nobody else does."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import mode_of, value
from toolrunner import PluginRegistry, ToolRunner
from toolrunner.runner.confinement import build_sandbox
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.caches import MOST_BYTES, MOST_SECONDS, Caches
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.profile import Program

WRITES = r"""
    import os
    place = os.path.expanduser("~/.cache/fonts/list")
    os.makedirs(os.path.dirname(place), exist_ok=True)
    os.makedirs(os.path.expanduser("~/.config/fonts"), exist_ok=True)
    with open(place, "w") as file:
        file.write("found")

    def attempt(function):
        try:
            function()
        except OSError:
            return False
        return True

    def run(payload):
        folder = os.path.dirname(place)
        tries = {
            "write": lambda: open(place, "w"),
            "append": lambda: open(place, "a"),
            "make": lambda: open(folder + "/new", "w"),
            "folder": lambda: os.mkdir(folder + "/folder"),
            "remove": lambda: os.unlink(place),
            "move": lambda: os.rename(place, folder + "/moved"),
            "link": lambda: os.link(place, os.path.expanduser("~/linked")),
            "mode": lambda: os.chmod(place, 0o777),
            "time": lambda: os.utime(place),
            "pipe": lambda: os.mkfifo(folder + "/pipe"),
            "truncate": lambda: os.truncate(place, 0),
        }
        with open(place) as file:
            text = file.read()
        own = os.path.expanduser("~/.cache/fonts")
        return {
            "text": text,
            "done": [name for name, function in tries.items() if attempt(function)],
            "own": [own != folder, os.listdir(own), attempt(lambda: open(own + "/new", "w"))],
            "relative": sorted(os.listdir(".cache/fonts")),
        }
"""


def test_calls_read_what_the_import_has_written_into_its_caches(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Nobody can write to them any more; each call has the folders of its own to write to."""
    tool_runner = make_runner(write_plugin(WRITES), layers=layers)
    assert str(tool_runner.start("sample")) == "warm"
    for _ in range(4):
        result = value(tool_runner.run("sample", {}))
        assert result["text"] == "found"
        assert result["done"] == []
        assert result["own"] == [True, [], True]
        assert result["relative"] == ["new"]
    assert mode_of(tool_runner) == "warm"


def test_a_resident_has_the_folders_of_its_caches_in_each_call(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Some libraries make sure of them once, and write there from then on."""
    body = (
        "import os\nos.makedirs('.cache/library')\n"
        "def run(payload):\n    open('.cache/library/new', 'x').close()\n    return {}\n"
    )
    path = write_plugin(body, start='"resident"')
    tool_runner = make_runner(path, layers=layers, allow_resident=("sample",))
    for _ in range(3):
        assert mode_of(tool_runner) == "resident"


STRANGE = {
    "a link": "os.symlink('/usr', '.cache/strange')",
    "a pipe": "os.mkfifo('.cache/strange')",
    "the place itself": "os.rmdir('.cache'); os.symlink('/usr', '.cache')",
    "a file of its own": "open('strange', 'w')",
}


@pytest.mark.parametrize("what", STRANGE)
def test_what_is_no_file_in_the_caches_makes_a_plugin_cold(
    what: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Links could lead elsewhere, and pipes carry something."""
    body = f"import os\nos.mkdir('.cache')\n{STRANGE[what]}\ndef run(payload):\n    return {{}}\n"
    tool_runner = make_runner(write_plugin(body), layers=layers)
    assert "its import writes files (1: " in str(tool_runner.start("sample"))
    assert mode_of(tool_runner) == "cold"


def test_what_goes_on_writing_its_caches_makes_a_plugin_cold(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """A file that stays open for writing is none that calls could only read."""
    body = (
        "import os\nos.mkdir('.cache')\nkept = open('.cache/x', 'w')\n"
        "def run(payload):\n    return {}\n"
    )
    tool_runner = make_runner(write_plugin(body), layers=layers)
    assert tool_runner.start("sample").mode == "cold"


FINDS = """
    import os, sys
    place = os.path.expanduser("~/.cache/of a library/list")
    found = os.path.exists(place) and open(place, "rb").read(6).decode()
    if FAILS and found:
        sys.exit("no")
    if not found:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as file:
            file.write(b"filled")
            file.truncate(SIZE)
    leaked = os.path.exists(os.path.expanduser("~/.cache/secret"))
    def run(payload):
        open(os.path.expanduser("~/.cache/secret"), "w").close()
        return {"found": found, "leaked": leaked}
"""


def found_by(
    path: Path, layers: Layers, state: Path, name: str = "sample", calls: int = 1
) -> list[object]:
    """Return what each call's import has found in its caches, in a runner of its own."""
    settings = Settings.load(state=state)
    registry = PluginRegistry.discover([path], settings=settings)
    sandbox = build_sandbox(settings, layers=layers)
    with ToolRunner(registry, settings=settings, sandbox=sandbox) as tool_runner:
        results = []
        for _ in range(calls):
            result, error = tool_runner.run(name, {})
            results.append(error["error"]["type"] if error else result["found"])
            assert error or result["leaked"] is False
        return results


def body(*, fails: bool = False, size: int = 100) -> str:
    """Return a plugin that looks into its caches as it is imported, and fills them."""
    return FINDS.replace("FAILS", str(fails)).replace("SIZE", str(size))


@pytest.mark.parametrize("start", ["auto", "cold"])
def test_the_next_load_of_a_plugin_finds_its_caches(
    start: str, write_plugin: WritePlugin, tmp_path: Path, layers: Layers
) -> None:
    """What a call writes there is in none of them; another plugin has its own."""
    state = tmp_path / "state"
    mine = write_plugin(body(), start=f'"{start}"')
    first = found_by(mine, layers, state, calls=2)
    assert first == ([False, False] if start == "auto" else [False, "filled"])
    assert found_by(mine, layers, state) == ["filled"]
    (kept,) = (state / "caches").iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    other = write_plugin(body(), name="other", start=f'"{start}"')
    assert found_by(other, layers, state, "other") == [False]
    changed = write_plugin(body() + "    # changed\n", start=f'"{start}"')
    assert found_by(changed, layers, state) == [False]


def test_caches_that_are_too_large_are_not_kept(
    write_plugin: WritePlugin, tmp_path: Path, host_layers: Layers
) -> None:
    """They are made anew by each load."""
    path = write_plugin(body(size=20 << 20))
    assert found_by(path, host_layers, tmp_path / "state") == [False]
    assert found_by(path, host_layers, tmp_path / "state") == [False]
    assert not (tmp_path / "state/caches").exists()


@pytest.mark.parametrize("damage", [b"", b"half", b"\0\0\0\0", b"\xd2\x02\xefnot it"])
def test_what_is_damaged_counts_for_nothing(
    damage: bytes, write_plugin: WritePlugin, tmp_path: Path, host_layers: Layers
) -> None:
    """As after the loss of power: the plugin loads as if there were none."""
    path = write_plugin(body())
    assert found_by(path, host_layers, tmp_path / "state") == [False]
    (kept,) = (tmp_path / "state/caches").iterdir()
    kept.write_bytes(damage)
    assert found_by(path, host_layers, tmp_path / "state") == [False]
    assert found_by(path, host_layers, tmp_path / "state") == ["filled"]


def test_caches_with_which_a_load_fails_are_forgotten(
    write_plugin: WritePlugin, tmp_path: Path, host_layers: Layers
) -> None:
    """The next load is as the first."""
    path = write_plugin(body(fails=True))
    state = tmp_path / "state"
    assert found_by(path, host_layers, state) == [False]
    assert found_by(path, host_layers, state) == ["PluginLoadError"]
    assert found_by(path, host_layers, state) == [False]


def program(name: str) -> Program:
    """Return a program without anything to it but its name."""
    return Program(name, f"/plugins/{name}.py")


def test_what_is_not_used_any_more_goes(tmp_path: Path) -> None:
    """Old ones, unfinished ones, and the oldest beyond the bound."""
    caches = Caches(tmp_path)
    for name in ("old", "large", "used"):
        caches.keep(program(name), name.encode(), warms_up=True)
    now = time.time()
    old, large, _ = (caches._path(program(n), warms_up=True) for n in ("old", "large", "used"))
    os.utime(old, (now, now - MOST_SECONDS - 60))
    os.truncate(large, MOST_BYTES)
    os.utime(large, (now, now - 60))
    unfinished = [tmp_path / ".new-one", tmp_path / ".new-two"]
    for path in unfinished:
        path.touch()
    os.utime(unfinished[0], (now, now - 86_400))
    caches.keep(program("new"), b"new", warms_up=True)
    found = {
        name: caches.find(program(name), warms_up=True) for name in ("old", "large", "used", "new")
    }
    assert found == {"old": b"", "large": b"", "used": b"used", "new": b"new"}
    assert not large.exists()
    assert [path.exists() for path in unfinished] == [False, True]
    assert caches.find(program("new"), warms_up=False) == b""


def test_a_folder_that_cannot_be_written_to_is_no_reason_to_fail(tmp_path: Path) -> None:
    """Then nothing is kept."""
    (tmp_path / "file").touch()
    caches = Caches(tmp_path / "file/folder")
    caches.keep(program("one"), b"bytes", warms_up=True)
    assert caches.find(program("one"), warms_up=True) == b""
    caches.forget(program("one"), warms_up=True)


FORGES = r"""
    import os, struct
    def say(body):
        os.write(3, struct.pack(">cI", b"K", len(body)) + body)
    for body in BODIES:
        say(body)
    def run(payload):
        return {"found": os.path.exists(PLACE), "leaked": False}
"""
FORGERIES = {
    "junk": b"\xff" * 1000,
    "a length beyond the end": b"\xff\xff\xff\xff[]",
    "a path out of the scratch": b'\0\0\0%c[["PLACE", 4]]data',
    "a path that is none": b"\0\0\0\x0e[[[1, 2], 4]]data",
}


@pytest.mark.parametrize("what", FORGERIES)
def test_an_import_that_forges_its_caches_spoils_its_own_alone(
    what: str, write_plugin: WritePlugin, tmp_path: Path, open_folder: Path, layers: Layers
) -> None:
    """They are data to the runner; what comes more than once is no frame of the protocol."""
    place = str(open_folder / "escaped")
    open_folder.chmod(0o777)
    forged = FORGERIES[what].replace(b"%c", b"%c" % len(f'[["{place}", 4]]'))
    forged = forged.replace(b"PLACE", place.encode())
    state = tmp_path / "state"

    def plugin(times: int) -> Path:
        source = FORGES.replace("BODIES", repr([forged] * times)).replace("PLACE", repr(place))
        return write_plugin(source, start='"cold"')

    assert found_by(plugin(2), layers, state) == ["ProtocolError"]
    assert found_by(plugin(1), layers, state) == [False]
    assert len(list((state / "caches").iterdir())) == 2
    # What it has said is brought along; it says it again, though nobody wants it now.
    assert found_by(plugin(1), layers, state) == ["ProtocolError"]
    assert not Path(place).exists()
    other = write_plugin(body(), name="other")
    assert found_by(other, layers, state, "other") == [False]
    assert found_by(other, layers, state, "other") == ["filled"]
