"""What is done once for all calls, and coroutines, and the author's word about threads."""

from __future__ import annotations

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import mode_of, value
from toolrunner.sandbox.layers import Layers

WARMS_UP = """
    done = []

    def warm_up():
        done.append("warmed")

    def run(payload):
        return {"done": done}
"""
AS_A_CLASS = """
    class Plugin:
        def __init__(self):
            self.done = []

        async def warm_up(self):
            self.done.append("warmed")

        async def run(self, payload):
            return {"done": self.done}
"""


@pytest.mark.parametrize("source", [WARMS_UP, AS_A_CLASS], ids=["functions", "a class"])
@pytest.mark.parametrize("start", ["auto", "resident", "cold"])
def test_it_is_done_before_the_first_call_unless_each_call_loads(
    source: str, start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Once: every call of a warm or resident plugin finds what it did. A cold one skips it."""
    plugin = write_plugin(source, start=f'"{start}"')
    runner = make_runner(plugin, layers=layers, allow_resident=["sample"])
    wanted = [] if start == "cold" else ["warmed"]
    for _ in range(2):
        assert value(runner.run("sample", {})) == {"done": wanted}


def test_one_that_fails_is_a_failed_load(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """With its traceback, and on the clock of the load."""
    source = "def warm_up():\n    raise OSError('no model')\ndef run(payload):\n    return {}\n"
    runner = make_runner(write_plugin(source), layers=layers)
    _, error = runner.run("sample", {})
    assert error is not None
    assert error["error"]["type"] == "PluginLoadError"
    assert "no model" in error["error"]["message"]
    assert "in warm_up" in error["_internal"]["traceback"]
    hangs = "import time\ndef warm_up():\n    time.sleep(600)\ndef run(payload):\n    return {}\n"
    runner = make_runner(write_plugin(hangs, limits="{ load_seconds = 1 }"), layers=layers)
    _, error = runner.run("sample", {})
    assert error is not None
    assert error["error"]["details"]["limit"]["name"] == "load_seconds"


REHEARSED = """
    seen = []

    def run(payload):
        with open("written", "w") as file:
            file.write("by a call")
        seen.append(payload.get("word") or payload["mime_type"])
        return {"seen": seen}
"""


def test_a_manifest_can_have_a_call_rehearsed(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """With the first example of its schema, or a picture; what it writes does not matter."""
    schema = '{ type = "object", examples = [{ word = "rehearsal" }] }'
    json = write_plugin(REHEARSED, name="json", warm_up="true", input_schema=schema)
    picture = write_plugin(
        REHEARSED, name="picture", input="image", warm_up="true", accepts='["image/png"]'
    )
    runner = make_runner(json, picture, layers=layers)
    assert str(runner.start("json")) == str(runner.start("picture")) == "warm"
    assert value(runner.run("json", {"word": "real"})) == {"seen": ["rehearsal", "real"]}
    image = {"image": b"not looked at", "mime_type": "image/png"}
    assert value(runner.run("picture", image)) == {"seen": ["image/png"] * 2}


COROUTINE = """
    import asyncio

    async def part(number):
        await asyncio.sleep(0.001)
        return number

    async def run(payload, context):
        context.progress(0.5)
        if "fail" in payload:
            raise ValueError("no")
        return {"parts": await asyncio.gather(part(1), part(2))}
"""


@pytest.mark.parametrize("start", ["auto", "resident", "cold"])
def test_a_coroutine_is_run_to_its_end(
    start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """On an event loop of the call's own; its traceback begins with the plugin."""
    plugin = write_plugin(COROUTINE, start=f'"{start}"')
    runner = make_runner(plugin, layers=layers, allow_resident=["sample"])
    for _ in range(2):
        assert value(runner.run("sample", {})) == {"parts": [1, 2]}
    _, error = runner.run("sample", {"fail": True})
    assert error is not None
    assert error["error"]["message"] == "ValueError: no"
    frames = error["_internal"]["traceback"].splitlines()
    assert frames[1].endswith("in run")


THREAD = (
    "import threading\n"
    "threading.Thread(target=threading.Event().wait, daemon=True, name='helper').start()\n"
)
SHARED = "import mmap\nkept = open('/dev/full')\n"
RUN = "def run(payload):\n    return {}\n"


@pytest.mark.parametrize(
    ("source", "start", "mode"),
    [(THREAD, "auto", "cold"), (THREAD, "warm", "warm"), (SHARED, "warm", "cold")],
)
def test_an_author_can_say_that_no_thread_is_missed(
    source: str, start: str, mode: str, write_plugin: WritePlugin, make_runner: MakeRunner
) -> None:
    """What would be shared between calls still forbids a fork, whatever the author says."""
    runner = make_runner(write_plugin(source + RUN, start=f'"{start}"'))
    assert mode_of(runner) == mode


NAMED = {
    "its import starts processes (1: sleep)": (
        "import subprocess\nsubprocess.Popen(['sleep', '600'])\n"
    ),
    "its import leaves files or sockets open (1: /dev/full)": "kept = open('/dev/full')\n",
    "its import writes files (2: a, b)": "open('a', 'w').close(), open('b', 'w').close()\n",
}


@pytest.mark.parametrize("reason", NAMED)
def test_the_reason_for_cold_names_what_it_is(
    reason: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """So that an author can find it."""
    runner = make_runner(write_plugin(NAMED[reason] + RUN), layers=layers)
    assert reason in str(runner.start("sample"))
