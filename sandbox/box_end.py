"""How the first processes of a box are ended and reaped by the runner, whose children they are.

Called by ``Box``. An exception from outside, as of a Ctrl-C while it waits, leaves out none of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time

from toolrunner.sandbox.polling import readable

CLOSE_SECONDS = 2.0


def kill(warden: int) -> None:
    """Kill a warden at once, and with its namespace everything in it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(warden, signal.SIGKILL)


def reap_launcher(launcher: subprocess.Popen[bytes]) -> None:
    """Reap a launcher, which has nothing more to do."""
    try:
        launcher.wait(CLOSE_SECONDS)
    except subprocess.TimeoutExpired:
        launcher.kill()
        launcher.wait()


def reap_warden(warden: int) -> None:
    """Reap a warden that has been told to end; one that does not is killed."""
    with contextlib.ExitStack() as last:
        last.callback(_bury, warden)
        try:
            descriptor = os.pidfd_open(warden)
        except ProcessLookupError:
            return  # reaped by somebody else: the runner's process may ignore SIGCHLD
        except OSError:
            _reap_by_asking(warden)  # no descriptor is left to wait with
            return
        last.callback(os.close, descriptor)
        if not readable(descriptor, CLOSE_SECONDS):
            kill(warden)


def _bury(warden: int) -> None:
    """Reap the warden; one that still runs, since a Ctrl-C came in between, is killed first."""
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(warden, os.WNOHANG)[0] == 0:
            kill(warden)
            os.waitpid(warden, 0)


def _reap_by_asking(warden: int) -> None:
    deadline = time.monotonic() + CLOSE_SECONDS
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(warden, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                kill(warden)
            time.sleep(0.001)
