"""Runs the tests in several processes at once: ``pytest --parallel N``.

Each process is forked of the one that has collected the tests, runs a stretch of one file's, and
ends; what they report is shown in the order of collection.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import itertools
import os
import pickle
import signal
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any

import pytest

# What pytest's own loop calls; it has no public name.
from _pytest.runner import pytest_sessionfinish as tear_down
from _pytest.runner import runtestprotocol

from tests import spent

STRETCH = 16  # tests; long enough for what they share, short enough for all processors to be busy
# A test has its own time, after which it fails. What has said nothing for so long does not hear of
# that: it is ended, with its stack shown, so that no run hangs without a word.
_SILENT_SECONDS = 900.0
_LOOK_SECONDS = 10.0
_LENGTH = struct.Struct("Q")  # before each report
_PIECE_BYTES = 1 << 20
Reports = list[dict[str, Any]]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run all tests, and report them here."""
    if session.testsfailed or session.config.option.collectonly:
        return None  # pytest's own loop knows what to say
    # One folder for all: who makes another one shuts what lies beside it to other users.
    factory = session.config._tmp_path_factory  # type: ignore[attr-defined]  # a fixture's else
    factory.getbasetemp()
    loop = _Loop(session, session.config.getoption("--parallel"))
    gc.collect()
    gc.freeze()  # no collection in a child has to touch, and so copy, what they all share
    try:
        loop.run()
    finally:
        loop.end()
    return True


@dataclass
class _Child:
    """A process; ``places``: of the tests that it has not reported yet.

    ``pidfd`` tells its end: the other end of ``source`` may be held by what it has left behind, or
    be closed by a test. Nobody waits for the rest of what has been ``read``.
    """

    pid: int
    pidfd: int
    source: int
    places: collections.deque[int]
    heard: float = field(default_factory=time.monotonic)
    read: bytearray = field(default_factory=bytearray)
    is_closed: bool = False

    def reports(self) -> Iterator[Reports]:
        """Read what has come, and yield what has come whole."""
        piece = os.read(self.source, _PIECE_BYTES)
        self.is_closed = not piece
        self.read += piece
        while len(self.read) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self.read)[0]
            if len(self.read) < end:
                return
            yield pickle.loads(self.read[_LENGTH.size : end])
            del self.read[:end]


class _Loop:
    def __init__(self, session: pytest.Session, most: int) -> None:
        self._session = session
        self._items = session.items
        self._most = most
        by_file = itertools.groupby(range(len(self._items)), lambda n: self._items[n].path)
        self._stretches = collections.deque(
            collections.deque(stretch)
            for _path, places in by_file
            for stretch in _batched(list(places))
        )
        self._children: list[_Child] = []
        self._waiting: dict[int, Reports] = {}  # until all before them have been shown
        self._shown = 0

    def run(self) -> None:
        """Keep as many processes busy as there may be, until every test has been shown."""
        while self._stretches or self._children:
            if self._stretches and len(self._children) < self._most:
                self._start(self._stretches.popleft())
                continue
            waiting = [child.pidfd for child in self._children]
            waiting += [child.source for child in self._children if not child.is_closed]
            ready = connection.wait(waiting, _LOOK_SECONDS)
            for child in list(self._children):
                if child.source in ready:
                    self._hear(child)
                elif child.pidfd in ready:
                    self._ended(child)
                elif time.monotonic() - child.heard > _SILENT_SECONDS:
                    os.kill(child.pid, signal.SIGABRT)

    def _start(self, places: collections.deque[int]) -> None:
        source, sink = os.pipe()
        pid = os.fork()
        if pid == 0:
            for source_of_another in (source, *(child.source for child in self._children)):
                os.close(source_of_another)
            _run_in_child(self._session, [self._items[place] for place in places], sink)
        os.close(sink)
        self._children.append(_Child(pid, os.pidfd_open(pid), source, places))

    def _hear(self, child: _Child) -> None:
        for reports in child.reports():
            child.heard = time.monotonic()
            self._take(child.places.popleft(), reports)

    def _ended(self, child: _Child) -> None:
        """Leave what a process has not done to another; a test that ended it has failed."""
        self._children.remove(child)
        os.close(child.source)
        os.close(child.pidfd)
        _, status = os.waitpid(child.pid, 0)
        if status:
            place = child.places.popleft()
            item = self._items[place]
            words = f"the process of this test ended with {os.waitstatus_to_exitcode(status)}"
            report = pytest.TestReport(item.nodeid, item.location, {}, "failed", words, "call")
            to_data = item.ihook.pytest_report_to_serializable
            self._take(place, [to_data(config=item.config, report=report)])
        if child.places:
            self._stretches.appendleft(child.places)

    def _take(self, place: int, reports: Reports) -> None:
        """Keep what one test reported, and show all that is due."""
        self._waiting[place] = reports
        while self._shown in self._waiting:
            self._show(self._items[self._shown], self._waiting.pop(self._shown))
            self._shown += 1

    def _show(self, item: pytest.Item, reports: Reports) -> None:
        hook, session = item.ihook, self._session
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for data in reports:
            report = hook.pytest_report_from_serializable(config=item.config, data=data)
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    def end(self) -> None:
        """End the processes that still run, after a Ctrl-C or ``-x``."""
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGINT)
        for child in self._children:
            os.waitpid(child.pid, 0)


class _Reporter:
    """In a child: sends what tests report instead of showing it."""

    def __init__(self, sink: int) -> None:
        self._sink = sink

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Run one test, with its fixtures."""
        before = spent.worked_seconds()
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        reports[-1].user_properties.append((spent.WORKED, spent.worked_seconds() - before))
        to_data = item.ihook.pytest_report_to_serializable
        data = pickle.dumps([to_data(config=item.config, report=report) for report in reports])
        left = memoryview(_LENGTH.pack(len(data)) + data)
        while left:
            left = left[os.write(self._sink, left) :]
        return True


def _run_in_child(session: pytest.Session, items: list[pytest.Item], sink: int) -> None:
    """Run the tests, and end this process."""
    status = 1
    try:
        plugins = session.config.pluginmanager
        plugins.register(_Reporter(sink))
        capture = plugins.get_plugin("capturemanager")
        if capture is not None:  # its files are the parent's: other children write to them as well
            capture.stop_global_capturing()
            capture.start_global_capturing()
        for item, next_item in itertools.zip_longest(items, items[1:]):
            item.ihook.pytest_runtest_protocol(item=item, nextitem=next_item)
        status = 0
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        tear_down(session)
    finally:
        os._exit(status)


def _batched(places: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(places), STRETCH):
        yield places[start : start + STRETCH]
