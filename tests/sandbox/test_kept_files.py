"""Files that an import leaves open for reading: every call has them, and shares none of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import mode_of, value, wait_until
from toolrunner import Call
from toolrunner.sandbox.layers import Layers

READS = """
    import os
    opened = open(os.__file__, "rb", buffering=0)
    opened.read(7)
    os.set_inheritable(opened.fileno(), True)
    def run(payload):
        import fcntl
        before = [opened.tell(), opened.fileno(), os.get_inheritable(opened.fileno())]
        flags = fcntl.fcntl(opened, fcntl.F_GETFL)
        text = opened.read(5).decode()
        os.lseek(opened.fileno(), 4000, os.SEEK_SET)
        fcntl.fcntl(opened, fcntl.F_SETFL, flags | os.O_APPEND | os.O_NONBLOCK)
        return {"before": before, "flags": flags, "text": text}
"""


def test_each_call_finds_a_file_as_the_import_has_left_it(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Its position, number and flags, whatever calls before it have done to theirs."""
    tool_runner = make_runner(write_plugin(READS), layers=layers)
    assert str(tool_runner.start("sample")) == "warm"
    first = value(tool_runner.run("sample", {}))
    assert first["text"] == Path(os.__file__).read_text("utf-8")[7:12]
    assert first["before"][0] == 7
    assert first["before"][2] is True
    for _ in range(6):
        call = Call()
        assert value(tool_runner.run("sample", {}, call=call)) == first
        assert call.isolation.mode == "warm"


LIBRARIES = {
    "sqlite": """
        import os, sqlite3
        base = sqlite3.connect("file:DATA?mode=ro", uri=True)
        base.execute("select count(*) from words").fetchall()
        def run(payload):
            return {"found": base.execute("select word from words").fetchall()[0][0]}
    """,
    "a read-only map": """
        import mmap
        with open("DATA", "rb") as file:
            area = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        def run(payload):
            return {"found": area[area.find(b"needle"):][:6].decode(), "size": area.size()}
    """,
    "many files": """
        files = [open("DATA", "rb") for _ in range(32)]
        def run(payload):
            text = [file.read() for file in files]
            return {"found": "needle" if all(b"needle" in t for t in text) else ""}
    """,
}


@pytest.mark.parametrize("how", LIBRARIES)
def test_libraries_that_keep_files_open_are_warm(
    how: str,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    open_folder: Path,
    layers: Layers,
) -> None:
    """As SQLite does, and who maps a model."""
    import sqlite3

    data = open_folder / "words.db"
    with sqlite3.connect(data) as base:
        base.execute("create table words (word text)")
        base.execute("insert into words values ('needle')")
    base.close()
    data.chmod(0o644)
    body = LIBRARIES[how].replace("DATA", str(data))
    tool_runner = make_runner(
        write_plugin(body), layers=layers, plugin={"sample": {"read": [str(open_folder)]}}
    )
    assert str(tool_runner.start("sample")) == "warm"
    for _ in range(3):
        assert value(tool_runner.run("sample", {}))["found"] == "needle"


OTHERS = {
    "a folder": 'os.open("/usr", os.O_RDONLY)',
    "a path alone": "os.open(os.__file__, os.O_PATH)",
    "a device": 'os.open("/dev/zero", os.O_RDONLY)',
    "a pipe": "os.pipe()",
    "one that never waits": "os.open(os.__file__, os.O_RDONLY | os.O_NONBLOCK)",
    "one without a name": "nameless()",
    "one too many": "[os.open(os.__file__, os.O_RDONLY) for _ in range(33)]",
    "one that can be written to": 'os.open("x", os.O_RDWR | os.O_CREAT)',
    "one of its scratch": "own()",
}


@pytest.mark.parametrize("what", OTHERS)
def test_anything_else_that_is_open_makes_a_plugin_cold(
    what: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Calls would share it, or could not have it."""
    body = (
        "import os\n"
        "def nameless():\n"
        "    fd = os.open('x', os.O_RDONLY | os.O_CREAT)\n    os.unlink('x')\n    return fd\n"
        "def own():\n"
        "    os.mkdir('.cache')\n    os.close(os.open('.cache/x', os.O_WRONLY | os.O_CREAT))\n"
        "    return os.open('.cache/x', os.O_RDONLY)\n"
        f"kept = {OTHERS[what]}\n"
        "def run(payload):\n    return {}\n"
    )
    tool_runner = make_runner(write_plugin(body), layers=layers)
    chosen = tool_runner.start("sample")
    assert [r for r in chosen.reasons if "leaves files or sockets open (" in r], chosen
    assert mode_of(tool_runner) == "cold"


def test_a_file_that_was_replaced_is_opened_by_the_next_load(
    write_plugin: WritePlugin, make_runner: MakeRunner, open_folder: Path, layers: Layers
) -> None:
    """No call gets another file than the one that its import has read, unless it reads it anew."""
    data = open_folder / "model"
    data.write_text("old")
    data.chmod(0o644)
    body = (
        f"file = open({str(data)!r})\nfirst = file.read()\n"
        "def run(payload):\n    file.seek(0)\n    return {'is': [first, file.read()]}\n"
    )
    tool_runner = make_runner(
        write_plugin(body), layers=layers, plugin={"sample": {"read": [str(open_folder)]}}
    )
    assert value(tool_runner.run("sample", {})) == {"is": ["old", "old"]}
    newer = open_folder / "newer"
    newer.write_text("new")
    newer.chmod(0o644)
    newer.replace(data)

    def is_new() -> bool:
        # Cells that were made before it have the old one.
        found = value(tool_runner.run("sample", {}))["is"]
        assert found in (["old", "old"], ["new", "new"])
        return bool(found[0] == "new")

    wait_until(is_new, "the plugin is loaded anew")
    wait_until(lambda: mode_of(tool_runner) == "warm", "and is warm again")


FULL = """
    import os
    kept = []
    try:
        while True:
            kept.append(os.open(os.__file__, os.O_RDONLY))
    except OSError:
        pass
    def run(payload):
        return {"kept": len(kept) > 0}
"""


def test_an_import_that_leaves_no_room_for_a_fork_is_cold_from_the_start(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """What is told of how calls start is how they start."""
    path = write_plugin(FULL, limits="{ open_files = 16 }")
    tool_runner = make_runner(path, layers=layers)
    start = tool_runner.start("sample")
    assert start.mode == "cold"
    assert "no call can be forked from it" in str(start)
    assert mode_of(tool_runner) == "cold"


HOSTILE = """
    import os
    fd = os.open(os.__file__, os.O_RDONLY)
    def open_anew(path, *rest, _open=os.open, **more):
        return os.dup(fd) if path == os.__file__ else _open(path, *rest, **more)
    def dup2(source, target, *rest, _dup2=os.dup2, **more):
        return target if target == fd else _dup2(source, target, *rest, **more)
    os.open, os.dup2 = open_anew, dup2
    def run(payload):
        return {"position": os.lseek(fd, 5, os.SEEK_CUR)}
"""


def test_a_cell_that_has_not_opened_its_files_anew_gets_no_call(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The warden compares; the plugin's calls run cold, each with a position of its own."""
    tool_runner = make_runner(write_plugin(HOSTILE), layers=layers)
    for _ in range(4):
        call = Call()
        assert value(tool_runner.run("sample", {}, call=call)) == {"position": 5}
        assert call.isolation.mode == "cold"
    assert "from opening their files anew" in str(tool_runner.start("sample"))
