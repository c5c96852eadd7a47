"""Runs each test in a forked process of its own: ``pytest --forked``.

For hosts that give each process little processor time (``ulimit -t``). Nothing of a test is left
for the next one either, so this tells a test that fails by itself from one that others break.
"""

from __future__ import annotations

import os
import pickle
import signal

import pytest
from _pytest.runner import runtestprotocol  # what pytest's own loop calls; it has no public name


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool:
    """Fork, run the test with its fixtures in the child, and report here what it reported."""
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    # The child's: pytest-timeout's alarm, which a fork does not inherit.
    remaining, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        _run_in_child(item, sink, remaining)
    os.close(sink)
    with os.fdopen(source, "rb") as stream:
        written = stream.read()
    _, status = os.waitpid(child, 0)
    if written:
        for data in pickle.loads(written):
            report = hook.pytest_report_from_serializable(config=item.config, data=data)
            hook.pytest_runtest_logreport(report=report)
    else:
        words = f"the process of this test ended with {os.waitstatus_to_exitcode(status)}"
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", words, "call")
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _run_in_child(item: pytest.Item, sink: int, remaining: float) -> None:
    """Run the test, write its reports to ``sink``, and end this process."""
    status = 1
    try:
        signal.setitimer(signal.ITIMER_REAL, remaining)
        reports = runtestprotocol(item, log=False, nextitem=None)
        signal.setitimer(signal.ITIMER_REAL, 0)
        to_data = item.ihook.pytest_report_to_serializable
        written = pickle.dumps([to_data(config=item.config, report=report) for report in reports])
        with os.fdopen(sink, "wb") as stream:
            stream.write(written)
        status = 0
    finally:
        os._exit(status)
