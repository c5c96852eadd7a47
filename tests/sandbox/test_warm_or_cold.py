"""What makes a plugin's calls warm, what makes them cold, and the reason that is given."""

from __future__ import annotations

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.sandbox.boxes import mode_of, wait_until, wardens
from toolrunner.sandbox.layers import Layers

REASONS = {
    "threads": (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
        "starts threads (1",
    ),
    "processes": (
        "import os, time\nif os.fork() == 0:\n    time.sleep(60)\n    os._exit(0)",
        "starts processes (1",
    ),
    "shared memory": (
        (
            "import mmap\nwith open('s', 'wb+') as file:\n"
            "    file.truncate(1)\n    area = mmap.mmap(file.fileno(), 1)"
        ),
        "maps writable shared memory (1",
    ),
    "an open folder": (
        "import os\nopened = os.open('/usr', os.O_RDONLY)",
        "leaves files or sockets open (1",
    ),
    "a socket": ("import socket\npair = socket.socketpair()", "leaves files or sockets open (2"),
    "a written file": ("open('state.txt', 'w').write('x')", "writes files (1"),
}


@pytest.mark.parametrize(
    ("what", "start"),
    # Threads are the author's own to judge.
    [
        (what, start)
        for what in REASONS
        for start in ("auto", "warm")
        if (what, start) != ("threads", "warm")
    ],
)
def test_what_a_fork_would_break_or_share_makes_a_plugin_cold(
    what: str, start: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """It runs all the same, and the reason is there to read, whatever its author asks for."""
    body, reason = REASONS[what]
    path = write_plugin(f"{body}\ndef run(payload):\n    return {{}}\n", start=f'"{start}"')
    tool_runner = make_runner(path, layers=layers)
    chosen = tool_runner.start("sample")
    assert chosen.mode == "cold"
    assert [r for r in chosen.reasons if reason in r], chosen.reasons
    assert mode_of(tool_runner) == "cold"
    wait_until(lambda: wardens() == [], "the box that only showed the reason is closed")


def test_a_plain_plugin_is_warm(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """``auto`` takes warm, with and without namespaces."""
    body = "import json, tempfile\nfolder = tempfile.gettempdir()\ndef run(p):\n    return {}\n"
    tool_runner = make_runner(write_plugin(body), layers=layers)
    assert tool_runner.start("sample").mode == "warm"
    assert mode_of(tool_runner) == "warm"


def test_a_manifest_can_ask_for_cold(
    write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """Then nothing is loaded ahead, and the reason says who wants it so."""
    path = write_plugin("def run(payload):\n    return {}\n", start='"cold"')
    tool_runner = make_runner(path, layers=host_layers)
    assert str(tool_runner.start("sample")) == 'cold: its manifest says start = "cold"'
    assert mode_of(tool_runner) == "cold"


@pytest.mark.parametrize("missing", ["landlock", "seccomp"])
def test_a_host_that_cannot_keep_calls_apart_is_cold(
    missing: str, write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """Landlock and seccomp keep the cells of one box apart; without them, each has its own."""
    layers = host_layers.without(missing)
    path = write_plugin("def run(payload):\n    return {}\n")
    tool_runner = make_runner(path, layers=layers, degraded=True)
    chosen = tool_runner.start("sample")
    assert chosen.mode == "cold"
    assert missing.lower() in chosen.reasons[0].lower()
    assert mode_of(tool_runner) == "cold"
