"""A worker that can start no thread any more still hears signals."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx

from tests.api.serve.conftest import SECONDS

PROGRAM = Path(__file__).with_name("threadless.py")


def test_it_reloads_and_ends(tmp_path: Path, environment: dict[str, str]) -> None:
    """SIGHUP has it reload, SIGTERM drain and end, with nothing but its own words in the log."""
    command = [sys.executable, "-P", str(PROGRAM), str(tmp_path / "state")]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert httpx.get(f"{address}/healthz", timeout=SECONDS).status_code == 200
            assert httpx.get(f"{address}/readyz", timeout=SECONDS).status_code == 503
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert "Traceback" not in said
