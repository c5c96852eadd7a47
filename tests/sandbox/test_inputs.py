"""Files of calls: where a plugin finds them, that it cannot change them, and that they go."""

from __future__ import annotations

import errno
import io
import os
import resource
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import value, wait_until
from toolrunner import Call, ToolRunner
from toolrunner.sandbox.layers import Layers

STARTS = ("auto", "cold", "resident")
READS = """
    import os, pathlib

    def run(payload):
        files = payload["files"]
        here = os.path.join(os.getcwd(), "input")
        return {
            "told": [[file["name"], file["mime_type"], file["bytes"]] for file in files],
            "read": [pathlib.Path(file["path"]).read_text() for file in files],
            "listed": sorted(os.listdir("input")),
            "are_below": all(file["path"] == os.path.join(here, file["name"]) for file in files),
            "options": payload.get("options"),
        }
"""
WRITES = """
    import os

    def run(payload):
        path = payload["files"][0]["path"]
        folder = os.path.dirname(os.path.realpath(path))
        tries = {
            "append": lambda: open(path, "ab"),
            "truncate": lambda: os.truncate(path, 0),
            "remove": lambda: os.unlink(path),
            "rename": lambda: os.rename(path, "mine"),
            "link": lambda: os.link(path, "mine"),
            "mode": lambda: os.chmod(path, 0o666),
            "times": lambda: os.utime(path, (0, 0)),
            "beside": lambda: open(folder + "/new", "w"),
            "folder": lambda: os.rmdir(folder),
            "above": lambda: open(os.path.dirname(folder) + "/new", "w"),
            "by descriptor": lambda: os.write(os.open(path, os.O_RDONLY), b"x"),
        }
        worked = []
        for name, act in tries.items():
            try:
                act()
            except OSError:
                continue
            worked.append(name)
        return {"worked": worked, "read": open(path).read()}
"""
# What a call finds of other calls' files.
LOOKS = """
    import os

    def run(payload, context):
        found, folder = [], os.path.realpath("input")
        for above in (folder, os.path.dirname(folder), os.path.dirname(os.path.dirname(folder))):
            for top, folders, names in os.walk(above):
                found += names
        context.progress(0.5)
        while payload["options"]["waits"]:
            pass
        return {"found": sorted(set(found))}
"""

MakeFilesRunner = Callable[..., ToolRunner]


def files(**texts: str) -> dict[str, Any]:
    """Return a payload with a text file for each."""
    return {"files": [{"name": f"{name}.txt", "data": t.encode()} for name, t in texts.items()]}


def left_in(folder: Path) -> list[str]:
    """Return the files that are in the folders of boxes."""
    boxes = folder.glob("toolrunner-inputs-*")
    return [f"{top}/{name}" for box in boxes for top, _, names in os.walk(box) for name in names]


@pytest.fixture(params=STARTS)
def start(request: pytest.FixtureRequest) -> str:
    """The ways in which calls start."""
    return str(request.param)


@pytest.fixture
def make_files_runner(
    open_folder: Path,
    make_runner: MakeRunner,
    write_plugin: WritePlugin,
    layers: Layers,
    start: str,
    monkeypatch: pytest.MonkeyPatch,
) -> MakeFilesRunner:
    """Return a function that makes a runner of a plugin that takes files.

    What it needs of the host's disk lies below ``open_folder``.
    """
    monkeypatch.setattr("tempfile.tempdir", str(open_folder))

    def make(body: str, max_concurrent: int = 8, **keys: str) -> ToolRunner:
        path = write_plugin(body, input="files", start=f'"{start}"', **keys)
        return make_runner(
            path, layers=layers, allow_resident=["sample"], max_concurrent=max_concurrent
        )

    return make


def test_a_plugin_finds_its_files_by_name(
    make_files_runner: MakeFilesRunner, open_folder: Path
) -> None:
    """Whatever they are given as, in their order; several calls, one after the other."""
    tool_runner = make_files_runner(READS)
    path = open_folder / "on disk.csv"
    path.write_text("four")
    with path.open("rb") as opened:
        given = [
            {"name": "a.txt", "data": b"one"},
            {"name": "b", "mime_type": "text/x-b", "data": "dHdv"},
            {"name": "c.html", "data": io.BytesIO(b"three")},
            {"path": path},
            {"name": "é.txt", "path": path},
            {"name": "f.txt", "data": opened},
        ]
        for number in range(3):
            found = value(tool_runner.run("sample", {"files": given, "options": {"n": number}}))
            assert found == {
                "told": [
                    ["a.txt", "text/plain", 3],
                    ["b", "text/x-b", 3],
                    ["c.html", "text/html", 5],
                    ["on disk.csv", "text/csv", 4],
                    ["é.txt", "text/plain", 4],
                    ["f.txt", "text/plain", 4],
                ],
                "read": ["one", "two", "three", "four", "four", "four"],
                "listed": ["a.txt", "b", "c.html", "f.txt", "on disk.csv", "é.txt"],
                "are_below": True,
                "options": {"n": number},
            }


def test_a_plugin_cannot_change_them(make_files_runner: MakeFilesRunner) -> None:
    """Neither the files nor what they lie in, whoever owns them."""
    tool_runner = make_files_runner(WRITES)
    for _ in range(2):
        found = value(tool_runner.run("sample", files(one="text")))
        assert found == {"worked": [], "read": "text"}


def test_the_next_call_finds_nothing_of_them(
    make_files_runner: MakeFilesRunner, open_folder: Path
) -> None:
    """They are gone once a call has been answered, whatever it has come to."""
    tool_runner = make_files_runner(LOOKS, limits="{ wall_seconds = 1 }")
    for name in ("one", "two"):
        payload = {**files(**{name: "text"}), "options": {"waits": False}}
        assert value(tool_runner.run("sample", payload)) == {"found": [f"{name}.txt"]}
        assert left_in(open_folder) == []
    _, error = tool_runner.run("sample", {**files(three="text"), "options": {"waits": True}})
    assert error is not None
    assert error["error"]["type"] == "TimeLimitExceeded"
    assert left_in(open_folder) == []


def test_calls_at_once_find_their_own(
    make_files_runner: MakeFilesRunner, open_folder: Path
) -> None:
    """Each has a folder of its slot's, and may look into no other."""
    tool_runner = make_files_runner(LOOKS, limits="{ wall_seconds = 100, cpu_seconds = 100 }")
    runs = threading.Event()
    first = Call(on_progress=lambda *_: runs.set())
    payload = {**files(first="text"), "options": {"waits": True}}
    thread = threading.Thread(
        target=tool_runner.run, args=("sample", payload), kwargs={"call": first}
    )
    thread.start()
    try:
        wait_until(runs.is_set, "the first call has begun")
        assert [Path(path).name for path in left_in(open_folder)] != []
        payload = {**files(second="text"), "options": {"waits": False}}
        assert value(tool_runner.run("sample", payload)) == {"found": ["second.txt"]}
    finally:
        first.cancel()
        thread.join()
    assert left_in(open_folder) == []


def test_nothing_is_left_when_the_runner_is_closed(
    make_files_runner: MakeFilesRunner, open_folder: Path
) -> None:
    """Nor any folder for them."""
    tool_runner = make_files_runner(READS)
    value(tool_runner.run("sample", files(one="text")))
    tool_runner.close()
    assert os.listdir(open_folder) == []


def replace_it(path: Path) -> None:
    """Put another file of the same content in its place."""
    path.rename(path.with_name("old"))
    path.write_text("text")


def make_it_a_pipe(path: Path) -> None:
    """Put what could be waited for for ever in its place."""
    path.unlink()
    os.mkfifo(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "longer": lambda path: path.write_text("longer text"),
    "shorter": lambda path: path.write_text(""),
    "same length": lambda path: path.write_text("next"),
    "gone": Path.unlink,
    "another": replace_it,
    "a pipe": make_it_a_pipe,
}


def test_a_file_that_changes_before_it_is_copied_is_refused(
    make_files_runner: MakeFilesRunner, open_folder: Path
) -> None:
    """The caller hears so, nothing has run, and the next call goes well."""
    tool_runner = make_files_runner(
        LOOKS, max_concurrent=1, limits="{ wall_seconds = 100, cpu_seconds = 100 }"
    )
    path = open_folder / "one.txt"
    for name, change in CHANGES.items():
        path.unlink(missing_ok=True)
        path.write_text("text")
        runs = threading.Event()
        holder = Call(on_progress=lambda *_, runs=runs: runs.set())
        answers: list[Any] = []
        with ThreadPoolExecutor(2) as threads:
            payload = {**files(first="text"), "options": {"waits": True}}
            threads.submit(tool_runner.run, "sample", payload, call=holder)
            wait_until(runs.is_set, "the first call has begun")
            payload = {"files": [path], "options": {"waits": False}}
            waiting = threads.submit(tool_runner.run, "sample", payload)
            wait_until(lambda: tool_runner.waiting == 1, "the next call waits for it")
            change(path)
            holder.cancel()
            answers.append(waiting.result())
        ((_, error),) = answers
        assert error is not None, name
        assert error["error"]["type"] == "ValidationError", name
        assert "the file 'one.txt' has changed since it was given" in error["error"]["message"]
        assert left_in(open_folder) == []
    payload = {**files(two="text"), "options": {"waits": False}}
    assert value(tool_runner.run("sample", payload)) == {"found": ["two.txt"]}


def test_a_full_disk_is_the_hosts_fault(
    make_files_runner: MakeFilesRunner, open_folder: Path
) -> None:
    """The folder is named; what was copied so far is gone, and the next call goes well."""
    tool_runner = make_files_runner(READS)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        _, error = tool_runner.run("sample", files(one="text", two="x" * 200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error is not None
    assert error["error"]["type"] == "SandboxError"
    assert str(open_folder) in error["error"]["message"]
    assert error["error"]["details"]["errno"] == errno.EFBIG
    assert left_in(open_folder) == []
    assert value(tool_runner.run("sample", files(one="text")))["read"] == ["text"]


def test_what_a_resident_keeps_open_is_empty(
    make_runner: MakeRunner, write_plugin: WritePlugin, layers: Layers
) -> None:
    """It takes no space of the disk, and shows no call the files of another."""
    body = """
        kept = []
        def run(payload):
            read = [(file.seek(0), file.read())[1] for file in kept]
            kept.extend(open(file["path"]) for file in payload["files"])
            return {"read": read, "now": [file.read() for file in kept[len(read):]]}
    """
    path = write_plugin(body, input="files", start='"resident"')
    tool_runner = make_runner(path, layers=layers, allow_resident=["sample"])
    assert value(tool_runner.run("sample", files(one="first")))["now"] == ["first"]
    found = value(tool_runner.run("sample", files(one="second")))
    assert found["now"] == ["second"]
    assert found["read"] in ([], [""])


def test_with_fewer_layers(
    make_runner: MakeRunner, write_plugin: WritePlugin, host_layers: Layers, portable: Layers
) -> None:
    """Without Landlock, without namespaces and Landlock, on a system that is no Linux."""
    path = write_plugin(READS, input="files")
    for layers in (
        host_layers.without("landlock"),
        host_layers.without("namespaces", "landlock"),
        portable,
    ):
        tool_runner = make_runner(path, layers=layers, degraded=True)
        for text in ("one", "two"):
            found = value(tool_runner.run("sample", files(a=text)))
            assert found["read"] == [text]
            assert found["are_below"]
