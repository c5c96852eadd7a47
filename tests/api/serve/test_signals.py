"""Signals that have come to the supervisor while it did something else."""

from __future__ import annotations

import logging
import os
import signal
import socket

import pytest

from toolrunner.api.serve.supervisor import Supervisor


@pytest.mark.parametrize(
    ("come", "reloads", "ends"),
    [
        ([signal.SIGHUP] * 40, 1, False),
        ([*[signal.SIGHUP] * 40, signal.SIGTERM], 0, True),
        ([signal.SIGTERM, signal.SIGHUP], 0, True),
    ],
)
def test_many_reloads_are_one_and_an_end_comes_first(
    come: list[signal.Signals], reloads: int, ends: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Else a server that is told to reload all the time would not end for minutes."""
    done: list[str] = []

    def reload() -> bool:
        done.append("reload")
        return True

    with socket.create_server(("127.0.0.1", 0)) as listener:
        supervisor = Supervisor(
            listener,
            lambda _context: None,
            workers=0,
            drain_seconds=0,
            handler=logging.NullHandler(),
            on_ready=lambda: None,
            on_dead=lambda _pid, _status: "",
            on_reload=reload,
        )
        reader, writer = os.pipe()
        os.write(writer, bytes(come))
        with caplog.at_level(logging.INFO):
            supervisor._take_signals(reader)
        for end in (reader, writer):
            os.close(end)
        assert len(done) == reloads
        assert (listener.fileno() == -1) == ends
    assert caplog.text.count("may end within") == ends
