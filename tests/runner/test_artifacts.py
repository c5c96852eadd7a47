"""Files that calls give back beside their results: whole, checked, and only with a result."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import value
from toolrunner import Artifact, Call, ToolRunner
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import MIB

STARTS = ("cold", "auto", "resident")


@pytest.fixture(params=STARTS)
def start(request: pytest.FixtureRequest) -> str:
    """Each kind of start, as a manifest names it."""
    return str(request.param)


def failed(tool_runner: ToolRunner, payload: dict[str, Any]) -> dict[str, Any]:
    """Return the error of a call that has to fail, which has no artifacts."""
    call = Call()
    result, envelope = tool_runner.run("sample", payload, call=call)
    assert envelope is not None, result
    assert call.artifacts == ()
    return dict(envelope["error"])


GIVES = """
    import os

    def run(payload, context):
        picture = context.artifact("picture.png", b"png" * payload["times"])
        with open("notes.txt", "w") as file:
            file.write("some words")
        notes = context.artifact("notes.txt", context.scratch / "notes.txt")
        os.unlink("notes.txt")
        return {"picture": picture, "notes": notes}
"""


def test_what_a_call_gives_back_is_on_its_handle(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Bytes as bytes, in the order in which they were given; the result names them."""
    plugin = write_plugin(GIVES, start=f'"{start}"')
    tool_runner = make_runner(plugin, layers=layers, allow_resident=["sample"])
    for times in (0, 1, 1_000_000):
        call = Call()
        result = value(tool_runner.run("sample", {"times": times}, call=call))
        data = b"png" * times
        assert call.artifacts == (
            Artifact("picture.png", "image/png", data),
            Artifact("notes.txt", "text/plain", b"some words"),
        )
        assert result["picture"] == {
            "artifact": "picture.png",
            "mime_type": "image/png",
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        assert result["picture"]["sha256"] == call.artifacts[0].sha256
        assert call.usage.output_bytes > len(data) + len("some words")
        assert call.isolation.mode == {"auto": "warm"}.get(start, start)
    # What it gives back leaves nothing open: the process goes on.
    assert [one.replaced for one in tool_runner.residents().values()] == [{}] * (
        start == "resident"
    )


def test_it_is_the_same_where_degraded_is_all_there_is(
    write_plugin: WritePlugin, make_runner: MakeRunner, portable: Layers
) -> None:
    """The frames are."""
    call = Call()
    tool_runner = make_runner(write_plugin(GIVES), layers=portable, degraded=True)
    value(tool_runner.run("sample", {"times": 2}, call=call))
    assert [one.data for one in call.artifacts] == [b"pngpng", b"some words"]


FAILS = """
    import os, sys, time

    def run(payload, context):
        context.artifact("a.bin", bytes(300_000))
        how = payload["how"]
        if how == "raises":
            raise ValueError("after all")
        if how == "no JSON":
            return {"a": object()}
        if how == "no object":
            return [1]
        if how == "crashes":
            os.kill(os.getpid(), 11)
        if how == "hangs":
            time.sleep(60)
        if how == "too large":
            return {"a": "x" * (1 << 20)}
        if how == "too many values":
            return {"a": [0] * 1_000_001}
        return {}
"""
HOW = {
    "raises": "ExecutionError",
    "no JSON": "OutputValidationError",
    "no object": "OutputValidationError",
    "crashes": "PluginCrashed",
    "hangs": "TimeLimitExceeded",
    "too large": "OutputLimitExceeded",
    "too many values": "OutputLimitExceeded",
}


def test_of_a_call_that_fails_nothing_is_kept(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """However it fails, and whoever finds out; the next one gives back its own alone."""
    limits = "{ wall_seconds = 2, output_mb = 4 }"
    plugin = write_plugin(FAILS.replace("1 << 20", "5 << 20"), start=f'"{start}"', limits=limits)
    tool_runner = make_runner(plugin, allow_resident=["sample"])
    for how, error_type in HOW.items():
        error = failed(tool_runner, {"how": how})
        assert error["type"] == error_type, error
        assert error["details"]["usage"]["output_bytes"] >= (
            0 if how in "crashes hangs" else 300_000
        )
    call = Call()
    value(tool_runner.run("sample", {"how": "not at all"}, call=call))
    assert [(one.name, len(one.data)) for one in call.artifacts] == [("a.bin", 300_000)]


def test_a_call_that_is_cancelled_gives_nothing_back(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """What had come by then is let go."""
    plugin = write_plugin("""
        import time
        def run(payload, context):
            context.artifact("a", b"x")
            context.progress(0.5)
            time.sleep(60)
        """)
    call = Call(lambda _fraction, _message: call.cancel())
    _, envelope = make_runner(plugin).run("sample", {}, call=call)
    assert envelope is not None
    assert envelope["error"]["type"] == "Cancelled"
    assert call.artifacts == ()


MANY = """
    def run(payload, context):
        for number in range(payload["count"]):
            try:
                context.artifact(f"a{number}", bytes(payload["size"]))
            except BaseException as error:
                return {"refused": str(error)}
        return {}
"""


def test_there_are_64_at_most(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The next one ends the call, and 10,000 do: none of them is there."""
    plugin = write_plugin(MANY, start=f'"{start}"')
    tool_runner = make_runner(plugin, layers=layers, allow_resident=["sample"])
    for count in (64, 65, 10_000, 64):
        if count > 64:
            error = failed(tool_runner, {"count": count, "size": 1})
            assert error["type"] == "OutputLimitExceeded"
            assert error["message"] == "gave back more than 64 artifacts"
            limit = {"name": "artifacts", "configured": 64, "observed": 65}
            assert error["details"]["limit"] == limit
        else:
            call = Call()
            value(tool_runner.run("sample", {"count": count, "size": 1}, call=call))
            assert [one.name for one in call.artifacts] == [f"a{n}" for n in range(count)]


def test_what_is_too_large_is_refused_by_what_it_announces(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The error says how much it would have been, all in all."""
    tool_runner = make_runner(
        write_plugin(MANY, limits="{ artifacts_mb = 2, memory_mb = 1024 }"), layers=layers
    )
    for count, size, observed in ((1, 300 * MIB, 300), (3, MIB, 3), (2, 2 * MIB, 4)):
        error = failed(tool_runner, {"count": count, "size": size})
        assert error["type"] == "OutputLimitExceeded"
        assert error["message"] == f"gave back {observed} MiB of 2 MiB in artifacts"
        limit = {"name": "artifacts_mb", "configured": 2, "observed": observed}
        assert error["details"]["limit"] == limit
        assert error["details"]["usage"]["output_bytes"] == observed * MIB


REFUSED = """
    import os, socket
    from pathlib import Path

    class Odd(os.PathLike):
        def __fspath__(self):
            return "/etc/../etc/hostname"

    def run(payload, context):
        os.mkfifo("fifo")
        os.mkdir("folder")
        open("file", "w").write("text")
        os.symlink("file", "link")
        os.symlink("/etc/hostname", "out")
        os.symlink("/", "root")
        os.symlink("nowhere", "dangling")
        os.symlink("loop", "loop")
        sparse = open("sparse", "wb")
        sparse.truncate(1 << 20)
        data = {
            "fifo": "fifo", "folder": "folder", "link": "link", "link out": "out",
            "by a linked folder": "root/etc/hostname", "dangling": "dangling", "loop": "loop",
            "missing": "missing", "itself": ".", "above": "..", "absolute": "/etc/hostname",
            "above and back": "folder/../../etc/hostname", "odd": Odd(), "nothing": "",
            "a zero byte": "a\\0b", "a text": "some words\\nof mine", "bytes of a path": None,
            "a number": 7, "a list": [1], "an object": object(), "a file": sparse,
            "a missing path": Path("missing"), "a path of a link": Path("link"),
            "a device": "/dev/zero", "process": "/proc/self/environ",
        }
        said = {}
        for name, value in data.items():
            try:
                context.artifact("a", value)
                said[name] = "given"
            except (ValueError, TypeError) as error:
                said[name] = f"{type(error).__name__}: {error}"
        for name in payload["names"]:
            try:
                context.artifact(name, b"x")
                said[str(name)] = "given"
            except (ValueError, TypeError) as error:
                said[str(name)] = f"{type(error).__name__}: {error}"
        for kind in payload["types"]:
            try:
                context.artifact("b", b"x", kind)
                said["type " + str(kind)] = "given"
            except (ValueError, TypeError) as error:
                said["type " + str(kind)] = f"{type(error).__name__}: {error}"
        context.artifact("once", b"")
        try:
            context.artifact("once", b"")
        except ValueError as error:
            said["twice"] = str(error)
        context.artifact("sparse", "sparse", "Image/X-Own")
        context.artifact("deep", os.path.join(os.getcwd(), "folder", "..", "file"))
        return said
"""
NAMES = ["../a", "a/b", "/a", "", ".a", "-a", "a b", "a\n", "é", "a" * 129, "a\0", "..", 7, None]
TYPES = ["image", "image/", "/png", "a/b/c", "text/html; charset=utf-8", "a/b\r\nX: y", "é/a", 7]


def test_what_is_no_file_of_the_call_is_refused_with_words(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """A refusal is an exception like any other: who catches it may go on."""
    call = Call()
    tool_runner = make_runner(write_plugin(REFUSED), layers=layers)
    said = value(tool_runner.run("sample", {"names": NAMES, "types": TYPES}, call=call))
    assert [one.name for one in call.artifacts] == ["once", "sparse", "deep"]
    assert call.artifacts[1] == Artifact("sparse", "image/x-own", bytes(MIB))
    assert call.artifacts[2].data == b"text"
    assert "given" not in said.values(), said
    assert len(said) == 25 + len(NAMES) + len(TYPES) + 1
    assert "no regular file" in said["fifo"]
    assert "no regular file" in said["folder"]
    assert "it is a link" in said["link"]
    assert "it is a link" in said["link out"]
    assert "not below the scratch" in said["by a linked folder"]
    assert "not below the scratch" in said["absolute"]
    assert "not below the scratch" in said["above and back"]
    assert "not below the scratch" in said["odd"]
    assert "encode()" in said["a text"]
    assert said["a missing path"].endswith(
        "(No such file or directory); write the file there first"
    )
    assert said["a path of a link"].endswith("(it is a link); give the path of the file itself")
    assert "a folder as an archive" in said["folder"]
    assert "give bytes, or the path" in said["an object"]
    assert "1 to 128 ASCII letters" in said["../a"]
    assert "TypeError" in said["7"]
    assert "without parameters" in said["type text/html; charset=utf-8"]
    assert "a name of its own" in said["twice"]


CHANGES = """
    import os, threading

    real, changes = os.read, []

    def read(descriptor, size):
        block = real(descriptor, size)
        if changes:
            changes.pop()()
        return block

    os.read = read

    def run(payload, context):
        with open("file", "wb") as file:
            file.write(bytes(1 << 20))
        def change():
            with open("file", "ab") as file:
                file.truncate(payload["to"])
        changes.append(change)
        try:
            context.artifact("file", "file")
        except OSError as error:
            if not payload["goes_on"]:
                raise
        context.artifact("more", b"more")
        return {}
"""


@pytest.mark.parametrize("to", [0, 300_000, (1 << 20) - 1, (1 << 20) + 1, 5 << 20])
@pytest.mark.parametrize("goes_on", [False, True])
def test_a_file_that_changes_its_size_while_it_is_read_fails_the_call(
    to: int, goes_on: bool, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Even if the plugin goes on: half of what was announced is no file of anybody's."""
    tool_runner = make_runner(write_plugin(CHANGES))
    error = failed(tool_runner, {"to": to, "goes_on": goes_on})
    assert error["type"] == "ExecutionError"
    assert f"from {1 << 20} bytes to {to}; give it back when nothing writes" in error["message"]


INTERRUPTED = """
    import signal

    def stop(*_):
        raise TimeoutError("too slow for me")

    def run(payload, context):
        signal.signal(signal.SIGALRM, stop)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            while True:
                context.artifact("a", bytes(20 << 20))
        except (TimeoutError, ValueError) as error:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return {}
"""


def test_an_artifact_that_is_interrupted_is_never_half_a_success(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Whole, or the call fails."""
    tool_runner = make_runner(write_plugin(INTERRUPTED))
    for _ in range(5):
        call = Call()
        _, envelope = tool_runner.run("sample", {}, call=call)
        if envelope is None:
            # None, if it was interrupted before anything was sent.
            assert {len(one.data) for one in call.artifacts} <= {20 << 20}
        else:
            assert envelope["error"]["type"] in {"ExecutionError", "ProtocolError"}
            assert call.artifacts == ()


FORKS = """
    import os, pathlib

    def run(payload, context):
        with open("mine", "w") as file:
            file.write("text")
        reader, writer = os.pipe()
        if os.fork() == 0:
            try:
                context.artifact("child", b"x")
            except RuntimeError as error:
                os.write(writer, str(error).encode())
            if payload["child"] == "ends":
                os._exit(0)
            os.close(writer)
            return {"path": pathlib.Path("mine")}  # as if it were the call's process
        os.close(writer)
        said = b""
        while block := os.read(reader, 1000):
            said += block
        os.wait()
        context.artifact("parent", said)
        return {"path": pathlib.Path("mine")}
"""


@pytest.mark.parametrize("child", ["ends", "returns too"])
def test_a_child_gives_nothing_back(
    child: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Its bytes would be mixed with those of the call's own process."""
    call = Call()
    tool_runner = make_runner(write_plugin(FORKS))
    result = value(tool_runner.run("sample", {"child": child}, call=call))
    parent, mine = call.artifacts
    assert b"given by the call's own process" in parent.data
    assert (mine.name, mine.data) == ("mine", b"text")
    assert result["path"]["artifact"] == "mine"


THREADS = """
    import threading

    def run(payload, context):
        def give(number):
            for part in range(8):
                context.artifact(f"{number}-{part}", bytes([number]) * 100_000)
        threads = [threading.Thread(target=give, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            context.progress(0.5, "meanwhile")
            thread.join()
        return {}
"""


def test_threads_may_give_files_back_at_once(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """Each is one frame."""
    call = Call()
    value(make_runner(write_plugin(THREADS)).run("sample", {}, call=call))
    assert len(call.artifacts) == 64
    for one in call.artifacts:
        assert one.data == bytes([int(one.name[0])]) * 100_000


def test_a_context_that_was_kept_gives_nothing_to_a_later_call(
    write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """In a resident, where it could."""
    plugin = write_plugin(
        """
        kept = []
        def run(payload, context):
            kept.append(context)
            try:
                return {"said": kept[0].artifact(f"a{len(kept)}", b"x")}
            except RuntimeError as error:
                return {"said": str(error)}
        """,
        start='"resident"',
    )
    tool_runner = make_runner(plugin, allow_resident=["sample"])
    first, second = Call(), Call()
    value(tool_runner.run("sample", {}, call=first))
    result = value(tool_runner.run("sample", {}, call=second))
    assert len(first.artifacts) == 1
    assert (result["said"], second.artifacts) == (
        "the call that this context belongs to is over",
        (),
    )


def test_a_rehearsed_call_gives_its_files_to_nobody(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The first call gives back its own, under the same names."""
    schema = "{ examples = [{ times = 3 }] }"
    plugin = write_plugin(GIVES, warm_up="true", input_schema=schema)
    tool_runner = make_runner(plugin, layers=layers)
    for times in (1, 2):
        call = Call()
        value(tool_runner.run("sample", {"times": times}, call=call))
        assert [one.data for one in call.artifacts] == [b"png" * times, b"some words"]
        assert call.isolation.mode == "warm"
