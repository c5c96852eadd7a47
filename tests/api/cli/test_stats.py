"""``toolrunner plugins show --stats`` and what ``doctor`` draws: what is known, and no more."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Cli, Screen, Start
from tests.conftest import WritePlugin
from toolrunner.api.audit import AuditLog
from toolrunner.runner.call import Call
from toolrunner.runner.jobs.job import Submission
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.settings.settings import Settings

SAMPLE = """
    def run(payload):
        if payload.get("fail"):
            raise ValueError("\\x1b]0;owned\\x07[red]as told")
        return {}
"""
BLOCKS = re.compile("[▁▂▃▄▅▆▇█]")
COLOUR = re.compile(r"\x1b\[[0-9;]*[349][0-7]m")


@pytest.fixture
def served(tmp_path: Path, write_plugin: WritePlugin) -> Path:
    """A state folder in which calls and jobs of "sample" have ended, some of them failed."""
    folder = tmp_path / "state"
    settings = Settings.load(state=folder, keep_failures=tmp_path / "kept")
    path = write_plugin(SAMPLE, limits="{ memory_mb = 64 }")
    with Backend(settings, plugin_paths=[str(path)]) as backend:
        backend.start()
        for fail in (False, False, True):
            backend.analysis.analyze("sample", {"fail": fail}, call=Call(caller="shop"))
        job, _ = backend.analysis.submit(Submission("sample", {"fail": True}, caller="shop"))
        never = threading.Event()
        while (found := backend.jobs.get_job(job.id, None)) and not found.status.has_ended:
            never.wait(0.01)
    with closing(AuditLog(folder / "audit.jsonl")) as log:
        for ms, outcome in ((12, "success"), (8, "success"), (30, "ExecutionError")):
            log.record(
                route="POST /v1/analyze", plugin="sample", caller="shop", outcome=outcome, ms=ms
            )
        log.record(route="POST /v1/analyze", plugin="other", outcome="success", ms=1)
        log.record(route="POST /v1/jobs", plugin="sample", outcome="success", ms=1)
        log.append(json.dumps({"route": "POST /v1/analyze", "plugin": "sample", "time": 1}))
    return path


def stats(cli: Cli, path: Path, state: str = "state", **variables: str) -> Any:
    """Return what the command tells a program."""
    options = ("--plugins", path, "--state", state)
    [document] = cli(
        *options, "plugins", "show", "sample", "--stats", "--json", **variables
    ).documents
    assert document["plugin"] == "sample"
    return document["stats"]


def test_stats_are_of_all_that_is_kept(cli: Cli, served: Path) -> None:
    """Counts of the state folder, times of the audit log and of jobs, shares of limits."""
    found = stats(cli, served, TOOLRUNNER_KEEP_FAILURES="kept")
    counts, calls = found["counts"], found["calls"]
    assert (counts["successes"], counts["errors"], len(counts["last_ms"])) == (2, 2, 4)
    assert (calls["known"], calls["failed"]) == (4, 2)
    assert calls["failures"] == {"ExecutionError": 2}
    assert calls["p50_ms"] >= 8
    assert calls["p99_ms"] >= 30
    assert sum(one["calls"] for one in calls["over_time"]) == 4
    assert {one["door"] for one in found["last_calls"]} == {"analyze", "job"}
    shares = {one["limit"]: one for one in found["limits"]}
    assert shares["memory_mb"]["at_most"] == 64
    assert 0 < shares["memory_mb"]["fraction"] < 1
    kept = found["kept_failures"]
    assert [one["type"] for one in kept] == ["ExecutionError", "ExecutionError"]
    assert all(Path(one["path"], "call.json").is_file() for one in kept)
    assert found["not_read"] == []


def test_stats_are_text_in_a_pipe(cli: Cli, served: Path) -> None:
    """Numbers in the place of bars, and nothing of what a plugin says is more than text."""
    options = ("--plugins", served, "--state", "state", "plugins", "show", "sample", "--stats")
    ended = cli(*options, TOOLRUNNER_KEEP_FAILURES="kept")
    assert ended.status == 0
    words = " ".join(ended.out.split())
    assert "calls 4, of which 2 failed" in words
    assert "ExecutionError 2" in words
    assert "[red]as told" in words
    assert not BLOCKS.search(ended.out)
    assert "\x1b" not in ended.out


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
def test_stats_are_drawn_in_a_terminal(
    variables: dict[str, str], start: Start, screen: Screen, served: Path
) -> None:
    """As wide as it is, and without colours where none are wanted."""
    options = ("--plugins", served, "--state", "state", "plugins", "show", "sample", "--stats")
    process = start(
        *options,
        stdout=screen.slave,
        stderr=subprocess.DEVNULL,
        variables={"COLUMNS": "60", **variables},
    )
    screen.close_slave()
    shown = screen.read_to_end()
    assert process.wait() == 0
    assert BLOCKS.search(shown)
    assert bool(COLOUR.search(shown)) == (not variables)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert [line for line in lines if len(line) > 60] == []


def test_stats_of_what_nobody_has_called_say_so(cli: Cli, write_plugin: WritePlugin) -> None:
    """No figure is made up, and nothing is made in a state folder that is not there."""
    path = write_plugin(SAMPLE)
    found = stats(cli, path, "nowhere")
    assert found["counts"]["successes"] == found["calls"]["known"] == 0
    assert found["calls"]["p50_ms"] is None
    options = ("--plugins", path, "--state", "nowhere", "plugins", "show")
    assert "No call of it is known here" in cli(*options, "sample", "--stats").out
    assert cli(*options, "sampel", "--stats").status == 2


def test_stats_name_what_cannot_be_read(cli: Cli, served: Path, tmp_path: Path) -> None:
    """And show the rest."""
    (tmp_path / "state" / "metrics.sqlite3").write_bytes(b"no database")
    found = stats(cli, served)
    assert [words.partition(":")[0] for words in found["not_read"]] == ["the counts"]
    assert found["calls"]["known"] == 4


def test_doctor_draws_layers_and_what_a_call_costs(cli: Cli, start: Start, screen: Screen) -> None:
    """Calls of a bundled plugin were made for it; in a pipe the numbers are all."""
    ended = cli("doctor", "--json")
    [found] = ended.documents
    if not found["floor"]["met"]:
        pytest.skip("no call is taken on this host: " + "; ".join(found["floor"]["gaps"]))
    costs = {one["mode"]: one for one in found["costs"]}
    assert set(costs) == {"warm", "cold"}
    assert costs["cold"]["ms"] > 0
    piped = cli("doctor").out
    assert re.search(r"layers +\d+ of \d+ on", piped)
    assert re.search(r"a cold call +[\d.]+ ms", piped)
    assert not BLOCKS.search(piped)
    process = start("doctor", stdout=screen.slave, stderr=subprocess.DEVNULL)
    screen.close_slave()
    assert BLOCKS.search(screen.read_to_end())
    process.wait()
