"""The life of warm boxes: when one is made, replaced, closed, and how many there are."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import (
    PATIENCE_SECONDS,
    WHERE,
    box_of,
    has_ended,
    mode_of,
    value,
    wait_until,
    wardens,
)
from toolrunner import Call
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.modes.warm_box import PoolLimits
from toolrunner.sandbox.processes import children_of


def test_a_box_serves_many_calls_and_is_replaced_after_so_many(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The next call makes a new one."""
    tool_runner = make_runner(write_plugin(WHERE), layers=layers, pool=PoolLimits(calls=4))
    first = [box_of(tool_runner) for _ in range(3)]
    assert len(set(first)) == 1
    value(tool_runner.run("sample", {}))  # its last, after which it may be gone at any moment
    value(tool_runner.run("sample", {}))
    wait_until(lambda: [w.pid for w in wardens()] != [first[0]], "a new box")
    wait_until(lambda: not psutil.pid_exists(first[0]), "the old box is closed")


def test_a_box_is_replaced_when_the_plugin_changes(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """A file that was written anew is what the next call runs."""
    path = write_plugin(WHERE)
    tool_runner = make_runner(path, layers=host_layers)
    assert value(tool_runner.run("sample", {}))["text"] == "one"
    path.write_text(path.read_text().replace("'one'", "'two'"))
    assert value(tool_runner.run("sample", {}))["text"] == "two"


def test_a_box_is_replaced_when_a_file_of_a_folder_plugin_changes(
    tmp_path: Path, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """Any file: here one that the plugin imports."""
    tmp_path.chmod(0o755)
    folder = tmp_path / "sample"
    folder.mkdir(mode=0o755)
    (folder / "toolrunner.toml").write_text(
        '[tool.toolrunner]\nname = "sample"\nversion = "1.0.0"\ndescription = "made for a test"\n'
        'input = "json"\nentry = "main:run"\n'
    )
    (folder / "main.py").write_text("import helper\ndef run(p):\n    return helper.answer()\n")
    helper = folder / "helper.py"
    helper.write_text("def answer():\n    return {'text': 'one'}\n")
    tool_runner = make_runner(folder, layers=host_layers)
    assert value(tool_runner.run("sample", {})) == {"text": "one"}
    helper.write_text("def answer():\n    return {'text': 'another'}\n")
    wait_until(
        lambda: bool(value(tool_runner.run("sample", {})) == {"text": "another"}),
        "the new file is what runs",
    )


@pytest.mark.parametrize("who", ["warden", "zygote"])
def test_a_box_that_has_died_is_replaced(
    who: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The next call knows nothing of it."""
    tool_runner = make_runner(write_plugin(WHERE), layers=layers)
    first = box_of(tool_runner)
    victim = first if who == "warden" else children_of(first)[0]
    process = psutil.Process(victim)
    process.kill()
    wait_until(lambda: has_ended(process), "it is dead")
    for _ in range(4):
        value(tool_runner.run("sample", {}))
    assert tool_runner.start("sample").mode == "warm"
    wait_until(lambda: first not in [w.pid for w in wardens()], "the dead box is gone")


def test_an_idle_box_is_closed(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Nothing of it is left, and the next call makes another."""
    pool = PoolLimits(idle_seconds=0.2)
    tool_runner = make_runner(write_plugin(WHERE), layers=layers, pool=pool)
    value(tool_runner.run("sample", {}))
    wait_until(lambda: wardens() == [], "the idle box is closed")
    value(tool_runner.run("sample", {}))


def test_boxes_are_bounded_in_number(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """The one that has been idle longest goes first; without any, calls run cold."""
    paths = [write_plugin(WHERE, name=name) for name in ("first", "second", "third")]
    tool_runner = make_runner(*paths, layers=host_layers, pool=PoolLimits(boxes=2))
    assert [mode_of(tool_runner, name) for name in ("first", "second", "third")] == ["warm"] * 3
    wait_until(lambda: len(wardens()) == 2, "the third box has taken the place of the first")
    none = make_runner(*paths, layers=host_layers, pool=PoolLimits(boxes=0))
    assert mode_of(none, "first") == "cold"


def test_boxes_are_bounded_in_memory(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """Those that have been idle longest are closed until the rest fits."""
    body = "kept = bytearray(b'x') * (60 << 20)\ndef run(payload):\n    return {}\n"
    paths = [write_plugin(body, name=name) for name in ("first", "second")]
    pool = PoolLimits(memory_mb=100, standby=0)
    tool_runner = make_runner(*paths, layers=host_layers, pool=pool)
    for name in ("first", "second"):
        assert mode_of(tool_runner, name) == "warm"
    wait_until(lambda: len(wardens()) == 1, "one box is closed")


@pytest.mark.parametrize("standby", [0, 1, 3])
def test_as_many_cells_stand_by_as_asked(
    standby: int, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Beside the zygote, while nothing runs."""
    pool = PoolLimits(standby=standby)
    tool_runner = make_runner(write_plugin(WHERE), layers=layers, pool=pool)
    for _ in range(4):
        warden = box_of(tool_runner)

    def cells() -> int:
        return len(children_of(warden)) - 1

    if standby:
        wait_until(lambda: standby <= cells() <= standby + 1, "cells stand by")
    else:
        wait_until(lambda: cells() == 0, "no cell stands by")


def test_calls_of_one_plugin_run_side_by_side(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Each waits for all the others to have begun: one after the other, none would end."""
    together = 4
    body = """
    def run(payload, context):
        context.progress(0.5)
        while context.seconds_left() > 0:
            pass
        return {}
    """
    path = write_plugin(body, limits="{ wall_seconds = 20 }")
    tool_runner = make_runner(
        path, layers=layers, max_concurrent=together, pool=PoolLimits(parallel=together)
    )
    begun = threading.Barrier(together + 1)

    def on_progress(_fraction: float, _message: str) -> None:
        begun.wait(PATIENCE_SECONDS)

    calls = [Call(on_progress=on_progress) for _ in range(together)]
    threads = [
        threading.Thread(target=tool_runner.run, args=("sample", {}), kwargs={"call": call})
        for call in calls
    ]
    for thread in threads:
        thread.start()
    begun.wait(PATIENCE_SECONDS)
    assert len(wardens()) == 1
    for call in calls:
        call.cancel()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def test_a_killed_call_leaves_the_others_of_its_box_alone(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Limits are each call's own."""
    # The quiet one lasts longer than it takes to give up on a kill, and end the box instead.
    body = """
    import time
    def run(payload, context):
        if payload["bomb"]:
            return {"size": len(b"x" * (400 << 20))}
        context.progress(0.5)
        while context.seconds_left() > payload["until"]:
            time.sleep(0.01)
        return {"done": True}
    """
    limits = "{ wall_seconds = 20, memory_mb = 96 }"
    tool_runner = make_runner(write_plugin(body, limits=limits), layers=layers)
    begun = threading.Event()
    answers: list[Any] = []
    call = Call(on_progress=lambda *_: begun.set())
    quiet = threading.Thread(
        target=lambda: answers.append(
            tool_runner.run("sample", {"bomb": False, "until": 16.0}, call=call)
        )
    )
    quiet.start()
    assert begun.wait(PATIENCE_SECONDS)
    for _ in range(3):
        _result, error = tool_runner.run("sample", {"bomb": True})
        assert error is not None
        assert error["error"]["type"] == "MemoryLimitExceeded"
    quiet.join(PATIENCE_SECONDS)
    assert value(answers[0]) == {"done": True}
    assert call.isolation.mode == "warm"
