"""The suite in several processes at once ends, whatever a test leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.second_user import ROOT

PATIENCE_SECONDS = 240
CONFTEST = """
from tests import parallel

{settings}

def pytest_addoption(parser):
    parser.addoption("--parallel", type=int)


def pytest_configure(config):
    config.pluginmanager.register(parallel)
"""


def ran(folder: Path, tests: str, *, settings: str = "") -> tuple[int, str]:
    """Run a suite of one file; return its exit status and what it printed."""
    (folder / "conftest.py").write_text(CONFTEST.format(settings=settings))
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(textwrap.dedent(tests))
    command = [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", "--parallel", "2"]
    printed = folder / "printed"
    # No pipe: what a test leaves behind may hold it.
    with printed.open("w") as file:
        done = subprocess.run(
            [*command, "test_it.py"], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=file, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
    return done.returncode, printed.read_text()


def test_what_a_test_leaves_behind_holds_up_nobody(tmp_path: Path) -> None:
    """A process that holds all that the test's own had open, until this test has ended."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    tests = f"""
        import os

        def test_leaves_a_process():
            if os.fork() == 0:
                with open({str(gate)!r}) as file:
                    file.read()
                os._exit(0)

        def test_comes_after_it():
            pass
        """
    keeps_open = os.open(gate, os.O_RDWR)
    try:
        status, printed = ran(tmp_path, tests)
    finally:
        os.close(keeps_open)
    assert "2 passed" in printed
    assert status == 0


def test_a_test_that_closes_what_is_not_its_own_is_the_one_that_fails(tmp_path: Path) -> None:
    """Nobody waits for the end of its process meanwhile."""
    tests = """
        import os

        def test_closes_all():
            os.closerange(3, 256)

        def test_comes_after_it():
            pass
        """
    status, printed = ran(tmp_path, tests)
    assert "1 failed, 1 passed" in printed
    assert "test_it.py::test_closes_all" in printed
    assert status == 1


def test_what_hears_nothing_is_ended_and_said(tmp_path: Path) -> None:
    """By its name; the others of its process are run in another."""
    tests = """
        import signal, time

        def test_hangs():
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
            time.sleep(3600)

        def test_comes_after_it():
            pass
        """
    settings = "parallel._SILENT_SECONDS, parallel._LOOK_SECONDS = 10.0, 0.5"
    status, printed = ran(tmp_path, tests, settings=settings)
    assert "the process of this test ended with -6" in printed
    assert "test_it.py::test_hangs" in printed
    assert "1 failed, 1 passed" in printed
    assert status == 1
