"""The audit log: whole lines, from all processes, wherever the file is moved."""

from __future__ import annotations

import json
import logging
import multiprocessing
import platform
import signal
from contextlib import closing
from pathlib import Path

import pytest

from tests.api.http.conftest import spin
from tests.postgres import Postgres
from toolrunner.api.audit import AuditLog
from toolrunner.api.cluster_audit import ClusterAudit
from toolrunner.runner.jobs.postgres.audit_rows import AuditRows
from toolrunner.runner.jobs.postgres.together import Together
from toolrunner.runner.settings.database_url import DatabaseUrl

FORK = multiprocessing.get_context("fork")


def lines(path: Path) -> list[dict[str, object]]:
    """Return every line of a log."""
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def test_a_record_is_a_line(tmp_path: Path) -> None:
    """Of JSON, with the time, for its owner's eyes alone."""
    path = tmp_path / "state" / "audit.log"
    with closing(AuditLog(path)) as log:
        log.record(caller="alice", status=200, plugin=None)
    [line] = lines(path)
    assert (line["caller"], line["status"], line["plugin"]) == ("alice", 200, None)
    assert str(line["time"]).endswith("+00:00")
    assert path.stat().st_mode & 0o077 == 0


def test_no_value_breaks_a_line_or_fills_the_disk(tmp_path: Path) -> None:
    """Values are whatever strangers send."""
    path = tmp_path / "audit.log"
    with closing(AuditLog(path)) as log:
        log.record(route="a\nb\x1b[2J", plugin="x" * 1_000_000, caller="\ud800")
    [line] = lines(path)
    assert "\x1b" not in str(line["route"])
    assert len(str(line["plugin"])) < 1000


def test_many_processes_write_whole_lines(tmp_path: Path) -> None:
    """None is lost or mixed with another."""
    path = tmp_path / "audit.log"

    def write(number: int) -> None:
        with closing(AuditLog(path)) as log:
            for count in range(100):
                log.record(worker=number, count=count, padding="x" * 300)

    processes = [FORK.Process(target=write, args=(number,)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = [(line["worker"], line["count"]) for line in lines(path)]
    assert sorted(found) == [(worker, count) for worker in range(4) for count in range(100)]


def test_a_file_that_is_moved_away_is_made_anew(tmp_path: Path) -> None:
    """As log rotation does it; and nothing is appended to what was there, but after its end."""
    path = tmp_path / "audit.log"
    with closing(AuditLog(path)) as log:
        log.record(n=1)
        path.rename(tmp_path / "audit.log.1")
        log.record(n=2)
        path.unlink()
        log.record(n=3)
    with closing(AuditLog(path)) as log:
        log.record(n=4)
    assert [line["n"] for line in lines(path)] == [3, 4]
    assert [line["n"] for line in lines(tmp_path / "audit.log.1")] == [1]


def test_what_cannot_be_written_is_in_the_programs_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not lost, and fails no request."""
    folder = tmp_path / "state"
    with closing(AuditLog(folder / "audit.log")) as log:
        (folder / "audit.log").unlink()
        (folder / "audit.log").mkdir()
        with caplog.at_level(logging.WARNING, "toolrunner.audit"):
            for name in ("alice", "bob", "carol"):
                log.record(caller=name)
            (folder / "audit.log").rmdir()
            log.record(caller="dave")
    for name in ("alice", "bob", "carol"):
        assert f'"caller": "{name}"' in caplog.text
    [error, *lines, over] = [(one.levelname, one.getMessage()) for one in caplog.records]
    assert error[0] == "ERROR"
    assert f"the audit log {folder / 'audit.log'} cannot be written" in error[1]
    assert {level for level, _ in lines} == {"WARNING"}
    assert len(lines) == 3
    assert "is written again; 3 lines are in this log instead" in over[1]
    assert '"caller": "dave"' in (folder / "audit.log").read_text()


def test_why_it_cannot_be_written_is_told_with_what_helps(tmp_path: Path) -> None:
    """A disk that is full needs room, and nothing else does."""
    full = tmp_path / "full.log"
    full.symlink_to("/dev/full")
    with closing(AuditLog(full)) as log:
        log.record(n=1)
        assert f"the audit log {full} cannot be written" in log.problem()
        assert log.problem().endswith("(No space left on device; make room there)")
    folder = tmp_path / "folder.log"
    folder.mkdir()
    with closing(AuditLog(folder)) as log:
        log.record(n=1)
        assert log.problem().endswith("(Is a directory; move the folder of that name away)")
    below = tmp_path / "below"
    below.touch()
    with closing(AuditLog(below / "audit.log")) as log:
        assert "make room" not in log.problem()


def test_it_is_read_page_by_page(tmp_path: Path) -> None:
    """The newest first, of one caller if asked for; pieces of lines are none."""
    path = tmp_path / "audit.log"
    with closing(AuditLog(path)) as log:
        assert log.read(limit=10, before=None, caller=None) == []
        for number in range(5):
            log.record(number=number, caller="alice" if number % 2 else "bob")
        with path.open("ab") as file:
            file.write(b'{"piece": ')
        log.record(number=5, caller="bob")
        first = log.read(limit=4, before=None, caller=None)
        assert [one["number"] for one in first] == [5, 4, 3, 2]
        rest = log.read(limit=4, before=first[-1]["seq"], caller=None)
        assert [one["number"] for one in rest] == [1, 0]
        assert log.read(limit=4, before=rest[-1]["seq"], caller=None) == []
        of_alice = log.read(limit=10, before=None, caller="alice")
        assert [one["number"] for one in of_alice] == [3, 1]


def test_the_lines_of_all_servers_are_read_at_each(database: str, tmp_path: Path) -> None:
    """Each once, however often it is sent, also of one that has ended; the oldest go first."""
    url = DatabaseUrl(database)
    with closing(Together(url)) as one, closing(Together(url)) as other:
        reader = ClusterAudit(AuditLog(tmp_path / "one"), one)
        writer = ClusterAudit(AuditLog(tmp_path / "other"), other)
        for number in range(3):
            writer.record(number=number, caller="alice")
        writer.close()
        assert len(lines(tmp_path / "other")) == 3
        reader.record(number=3, caller="bob")
        found = reader.read(limit=2, before=None, caller=None)
        assert [line["number"] for line in found] == [3, 2]
        assert {line["host"] for line in found} == {platform.node()}
        rest = reader.read(limit=9, before=found[-1]["seq"], caller=None)
        assert [line["number"] for line in rest] == [1, 0]
        [of_bob] = reader.read(limit=9, before=None, caller="bob")
        assert of_bob["number"] == 3
        reader.close()
        few = AuditRows(one, most=2)
        few.add("carol", "{}")
        assert len(few.read(limit=9, before=None, caller=None)) == 2


def test_lines_wait_for_postgresql(database: str, postgres: Postgres, tmp_path: Path) -> None:
    """The file has them at once, and nobody who asks for something waits."""
    with closing(Together(DatabaseUrl(database))) as together:
        log = ClusterAudit(AuditLog(tmp_path / "file"), together)
        postgres.stop(signal.SIGQUIT)
        log.record(number=1)
        assert len(lines(tmp_path / "file")) == 1
        with pytest.raises(OSError, match="see that PostgreSQL runs"):
            log.read(limit=1, before=None, caller=None)
        postgres.start()
        together.start()
        spin(lambda: _numbers(log) == [1])


def _numbers(log: ClusterAudit) -> list[object]:
    try:
        return [line["number"] for line in log.read(limit=9, before=None, caller=None)]
    except OSError:
        return []
