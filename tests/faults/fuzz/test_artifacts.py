"""Real calls that give back whatever chance has them: what arrives is what was given, or nothing.

The plugin does what it is told, one thing after the other, and says what became of each; so a
seed tries the same again.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.faults.fuzz.mutator import Mutator
from toolrunner import Call, ToolRunner
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import MIB

CALLS = 60
SOURCE = """
import os, sys
from pathlib import Path

def write(name, size):
    with open(name, "wb") as file:
        file.write(bytes([size % 251]) * size)

def given(context, what):
    kind, name, size = what["kind"], what["name"], what["size"]
    path = f"file-{size}"
    if kind == "bytes":
        return context.artifact(name, bytes([size % 251]) * size)
    if kind == "sparse":
        with open(path, "wb") as file:
            file.truncate(size)
    elif kind == "fifo":
        os.mkfifo("fifo")
        path = "fifo"
    elif kind == "link":
        write("target", size)
        os.symlink("target", "link")
        path = "link"
    elif kind == "folder":
        os.mkdir("folder")
        path = "folder"
    elif kind == "growing":
        path = "growing"  # nobody else's: it may grow on after this
        write(path, size)
        grow(path)
    elif kind == "missing":
        path = "missing"
    elif kind == "device":
        path = "/dev/zero"
    else:
        write(path, size)
    if kind == "in the result":
        return Path(path)
    return context.artifact(name, path)

def grow(path):
    reader, writer = os.pipe()
    if os.fork() == 0:
        with open(path, "ab", buffering=0) as file:
            os.write(writer, b"x")
            for _ in range(2000):
                file.write(b"more")
        os._exit(0)
    os.read(reader, 1)

def run(payload, context):
    said = []
    for what in payload["whats"]:
        try:
            said.append(given(context, what))
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
    return {"said": said}
"""
KINDS = {
    "bytes": 6, "file": 3, "in the result": 2, "sparse": 2, "fifo": 1, "link": 1, "folder": 1,
    "missing": 1, "device": 1,
}  # fmt: skip
SIZES = (0, 1, 1000, 65_535, 65_536, 262_144, 262_145, 500_000, MIB, MIB + 1, 2 * MIB)
ODD_NAMES = ("../a", "", ".a", "a/b", "a\n", "\u0661", "a" * 129, "a" * 128, "A-b_c.d", "0")


def some(random: Random) -> list[dict[str, Any]]:
    """Return what a call is to give back."""
    count = random.choice((1, 2, 5, 64, 65, 70))
    kinds = random.choices(list(KINDS), list(KINDS.values()), k=count)
    if random.random() < 0.2:
        kinds[0] = "growing"
    sizes = SIZES if count < 10 else SIZES[:4]
    return [
        {
            "kind": kind,
            "name": random.choice(ODD_NAMES) if random.random() < 0.1 else f"n{number}",
            "size": random.choice(sizes),
        }
        for number, kind in enumerate(kinds)
    ]


def check(tool_runner: ToolRunner, whats: list[dict[str, Any]]) -> bool:
    """Call the plugin: each reference in a result is an artifact, and each artifact has one.

    Returns whether there was a result.
    """
    call = Call()
    result, envelope = tool_runner.run("sample", {"whats": whats}, call=call)
    if envelope is not None:
        assert call.artifacts == ()
        error = envelope["error"]
        if error["type"] == "OutputLimitExceeded":
            limit = error["details"]["limit"]
            assert limit["name"] in {"artifacts", "artifacts_mb"}
            observed = limit["observed"]
            assert observed is not None
            assert observed > limit["configured"]
        else:
            assert whats[0]["kind"] == "growing", error
            assert error["type"] == "ExecutionError"
            assert "changed its size" in error["message"]
        return False
    assert len(call.artifacts) <= 64
    assert sum(len(one.data) for one in call.artifacts) <= 4 * MIB
    found = {one.name: one for one in call.artifacts}
    references = [one for one in result["said"] if isinstance(one, dict)]
    assert {one["artifact"] for one in references} == set(found)
    assert len(found) == len(call.artifacts)
    for one in references:
        artifact = found[one["artifact"]]
        assert (one["bytes"], one["sha256"]) == (len(artifact.data), artifact.sha256)
    for what, said in zip(whats, result["said"], strict=True):
        check_one(what, said)
    return True


def check_one(what: dict[str, Any], said: object) -> None:
    """What could be given was, and all else was refused with words."""
    kind, size = what["kind"], what["size"]
    if kind in {"fifo", "link", "folder", "missing", "device"}:
        assert isinstance(said, str)
        assert said.startswith(("ValueError", "FileExistsError"))
    elif isinstance(said, str):
        assert said.startswith("ValueError")
        assert kind != "in the result"
    elif kind != "growing":
        assert isinstance(said, dict)
        assert said["bytes"] == size


@pytest.mark.parametrize("start", ["auto", "resident"])
def test_what_arrives_is_what_was_given(
    start: str,
    write_plugin: WritePlugin,
    make_runner: MakeRunner,
    layers: Layers,
    seed: str,
    mutator: Mutator,
    count: Callable[[str, int], None],
) -> None:
    """Odd names, odd files, too many and too much, in any order."""
    limits = "{ artifacts_mb = 4, processes = 4 }"
    plugin = write_plugin(SOURCE, start=f'"{start}"', limits=limits)
    tool_runner = make_runner(plugin, layers=layers, allow_resident=["sample"])
    successes = 0
    for _ in range(CALLS):
        whats = some(mutator.random)
        try:
            successes += check(tool_runner, whats)
        except Exception as error:
            message = f"seed {seed!r}: {whats}"
            raise AssertionError(message) from error
    assert 0 < successes < CALLS
    count("calls with artifacts", CALLS)
