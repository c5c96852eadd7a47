"""Calls are kept apart: each is the first, and none can look into another."""

from __future__ import annotations

from typing import Any

from tests.conftest import MakeRunner, WritePlugin
from toolrunner import Call
from toolrunner.sandbox.layers import Layers


def test_nothing_of_a_call_is_there_in_the_next(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Neither variables nor files: every call is the first."""
    tool_runner = make_runner(
        write_plugin(
            """
            import os
            calls = 0

            def run(payload):
                global calls
                calls += 1
                own = [f for f in (".", "/dev/shm") if os.access(f, os.W_OK)]
                seen = [name for folder in own[:1] for name in os.listdir(folder)]
                open("left", "w").close()
                return {"calls": calls, "seen": seen}
            """
        ),
        layers=layers,
    )
    for _ in range(4):
        assert tool_runner.run("sample", {}) == ({"calls": 1, "seen": []}, None)


def test_a_call_cannot_read_what_another_works_on(
    write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """While a call runs, its scratch and its process are out of another's reach."""
    waiting = write_plugin(
        """
        import os, time

        def run(payload, context):
            open("own", "w").write("secret of the first")
            context.progress(0.5, f"{os.getpid()} {os.getcwd()}")
            time.sleep(20)
        """,
        name="first",
    )
    looking = write_plugin(
        """
        import os

        def run(payload):
            pid, folder = payload["pid"], payload["folder"]
            up = os.path.dirname(os.path.dirname(os.getcwd()))
            attempts = {}
            # In namespaces both have the same numbers and names, each of its own world.
            if folder != os.getcwd():
                attempts["file"] = lambda: open(folder + "/own").read()
                attempts["folder"] = lambda: os.listdir(os.path.dirname(up))
            if pid != os.getpid():
                attempts["process"] = lambda: os.listdir(f"/proc/{pid}/fd")
                attempts["signal"] = lambda: os.kill(pid, 0)
            done = []
            for name, attempt in attempts.items():
                try:
                    attempt()
                    done.append(name)
                except OSError:
                    pass
            return {"done": done}
        """,
        name="second",
    )
    tool_runner = make_runner(waiting, looking, layers=layers)
    answers: list[Any] = []

    def heard(_fraction: float, message: str) -> None:
        pid, folder = message.split(" ", 1)
        payload = {"pid": int(pid), "folder": folder}
        answers.append(tool_runner.run("second", payload))
        first.cancel()

    first = Call(on_progress=heard)
    _result, envelope = tool_runner.run("first", {}, call=first)
    assert envelope is not None
    assert envelope["error"]["type"] == "Cancelled"
    assert answers == [({"done": []}, None)]
