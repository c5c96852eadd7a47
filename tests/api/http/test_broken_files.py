"""Files of the state folder that are of no use while a server runs: what still works, and how."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.api.http.conftest import MakeSite, Site, detail_of, spin
from tests.api.http.test_callers import GOOD, token
from toolrunner.api.keys import KeyStore, Role

Harm = Callable[[Path], None]


def rubbish(file: Path) -> None:
    """Put rubbish in its place."""
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()
    file.write_bytes(b"\xff" * 8192)


def replaced(file: Path) -> None:
    """Put what is no file in its place."""
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()
    file.mkdir()


def mended(file: Path, copy: Path) -> None:
    """Put a copy back."""
    for path in file.parent.glob(f"{file.name}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copy(copy, file)


@pytest.fixture
def closed(make_site: MakeSite) -> Site:
    """A server that wants keys, and keeps figures."""
    return make_site(keys=True, figures=True)


@pytest.mark.parametrize("harm", [rubbish, replaced])
def test_without_readable_keys_nobody_is_let_in(closed: Site, harm: Harm) -> None:
    """Each is told to come again, the operator where to look; a copy that is put back counts."""
    operator, caller = token(closed, "ops", role=Role.OPERATOR), token(closed, "alice")
    file, copy = closed.folder / "keys.sqlite3", closed.folder / "copy"
    with closing(sqlite3.connect(file)) as database:
        database.execute("VACUUM INTO ?", (str(copy),))
    assert closed.get("/metrics", **operator).status_code == 200
    harm(file)
    for key in (operator, caller, {"X-API-Key": "tr_wrong"}):
        for answer in (closed.post("/v1/analyze", GOOD, **key), closed.get("/v1/jobs", **key)):
            detail = detail_of(answer, 503, "Overloaded")
            assert "cannot read its keys" in detail["message"]
            assert "/readyz" in detail["message"]
            assert answer.headers["retry-after"] == "10"
    ready = closed.get("/readyz")
    assert ready.status_code == 503
    [reason] = ready.json()["reasons"]
    assert "nobody is let in: keys.sqlite3" in reason
    assert str(closed.folder) not in ready.text
    assert closed.get("/healthz").status_code == 200
    # Who could look before still can, and nobody else.
    text = closed.get("/metrics", **operator).text
    assert 'toolrunner_problem{part="keys"} 1.0' in text
    detail_of(closed.get("/metrics", **caller), 503, "Overloaded")
    detail_of(closed.post("/v1/plugins/sample/suspend", {}, **operator), 503, "Overloaded")

    mended(file, copy)
    spin(lambda: closed.get("/readyz").status_code == 200)
    assert closed.post("/v1/analyze", GOOD, **caller).status_code == 200
    detail_of(closed.post("/v1/analyze", GOOD, **{"X-API-Key": "tr_wrong"}), 401, "Unauthorized")


def test_a_revoked_key_is_remembered_by_nobody(closed: Site) -> None:
    """As far as it was seen since: whoever came with it then is not let in later."""
    operator = token(closed, "ops", role=Role.OPERATOR)
    assert closed.get("/metrics", **operator).status_code == 200
    with closing(KeyStore(closed.folder)) as keys:
        keys.create("other")
        keys.revoke("ops")
    detail_of(closed.get("/metrics", **operator), 401, "Unauthorized")
    rubbish(closed.folder / "keys.sqlite3")
    detail_of(closed.get("/metrics", **operator), 503, "Overloaded")


def test_a_server_without_a_key_says_so(make_site: MakeSite) -> None:
    """Nobody can be let in: as after an emptied file."""
    ready = make_site(keys=True).get("/readyz")
    assert ready.status_code == 503
    assert "toolrunner keys create" in ready.json()["reasons"][0]


@pytest.mark.parametrize("harm", [rubbish, replaced])
def test_counts_of_no_use_are_a_warning(make_site: MakeSite, harm: Harm) -> None:
    """Calls and figures go on, and the server is ready; what was there is set aside."""
    site = make_site(figures=True)
    site.post("/v1/analyze", GOOD)
    harm(site.folder / "metrics.sqlite3")
    for _ in range(2):
        assert site.post("/v1/analyze", GOOD).status_code == 200
    ready = site.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    [warning] = ready.json()["warnings"]
    assert "set aside as metrics.sqlite3.broken" in warning
    assert 'toolrunner_problem{part="counts"} 0.0' in site.get("/metrics").text
    # A call that began in the old file may be missing in the new one.
    assert site.get("/v1/plugins/sample").json()["success_count"] >= 1
    aside = site.folder / "metrics.sqlite3.broken"
    shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
    assert site.get("/readyz").json()["warnings"] == []


def test_without_a_job_store_calls_and_figures_go_on(make_site: MakeSite) -> None:
    """The figures of jobs are left out, and those of everything else are there."""
    site = make_site(figures=True)
    rubbish(site.folder / "jobs.sqlite3")
    spin(lambda: 'toolrunner_problem{part="jobs"} 1.0' in site.get("/metrics").text)
    text = site.get("/metrics").text
    assert "toolrunner_calls_total" in text
    assert "toolrunner_jobs{" not in text
    assert site.post("/v1/analyze", GOOD).status_code == 200
    assert site.get("/healthz").status_code == 200


def test_a_disk_without_room_is_told_with_its_place_to_the_operator(closed: Site) -> None:
    """Whoever else asks sees the last name of a path alone."""
    operator, caller = token(closed, "ops", role=Role.OPERATOR), token(closed, "alice")
    rubbish(closed.folder / "jobs.sqlite3")
    spin(lambda: closed.get("/readyz").status_code == 503)
    assert str(closed.folder / "jobs.sqlite3") in closed.get("/readyz", **operator).text
    for key in (caller, {}):
        told = closed.get("/readyz", **key).text
        assert "jobs.sqlite3" in told
        assert str(closed.folder) not in told


def test_suspensions_that_cannot_be_read_are_a_warning(make_site: MakeSite) -> None:
    """Calls work: no balancer may take the server out for it. The figure says that it is broken."""
    site = make_site(figures=True)
    (site.folder / "suspensions.json").write_text("none")
    ready = site.get("/readyz")
    assert (ready.status_code, ready.json()["reasons"]) == (200, [])
    [warning] = ready.json()["warnings"]
    assert "suspensions.json cannot be read" in warning
    assert 'toolrunner_problem{part="suspensions"} 1.0' in site.get("/metrics").text
    assert site.post("/v1/analyze", GOOD).status_code == 200


def test_secrets_of_webhooks_that_are_of_no_use_are_told(make_site: MakeSite) -> None:
    """At /readyz and by the figure, with what to do; without webhooks nobody needs them."""
    site = make_site(figures=True, webhooks=("http://127.0.0.1:9/jobs",))
    file = site.folder / "webhook-secrets.json"
    assert site.get("/readyz").json()["warnings"] == []
    file.write_text("none")
    ready = site.get("/readyz")
    assert ready.status_code == 200
    [warning] = ready.json()["warnings"]
    assert "webhook-secrets.json is not what toolrunner has written" in warning
    assert "mend it, or remove it" in warning
    assert 'toolrunner_problem{part="webhooks"} 1.0' in site.get("/metrics").text
    file.unlink()
    assert site.get("/readyz").json()["warnings"] == []
    assert 'toolrunner_problem{part="webhooks"} 0.0' in site.get("/metrics").text


def test_webhooks_that_lose_messages_are_told(make_site: MakeSite) -> None:
    """One that has gone and one that has given up; which, the operator alone sees."""
    urls = ("http://127.0.0.1:9/gone", "http://127.0.0.1:9/late")
    site = make_site(keys=True, jobs=False, webhooks=urls)
    operator = token(site, "ops", role=Role.OPERATOR)
    outbox = site.doors.backend._outbox
    assert outbox is not None
    job = site.post("/v1/jobs", GOOD, **operator).json()["id"]
    site.doors.backend.jobs.cancel_job(job, "ops")
    outbox.stop(urls[0], "410 Gone")
    delivery = outbox.take(urls[1])
    assert delivery is not None
    outbox.give_up(delivery, "it answered 500")
    gone, late = site.get("/readyz", **operator).json()["warnings"]
    assert f"{urls[0]} has answered 410 Gone" in gone
    assert f"{urls[1]}: 1 messages were given up (it answered 500)" in late
    ready = site.get("/readyz")
    assert ready.status_code == 200
    [told] = ready.json()["warnings"]
    assert told.startswith("webhooks that have not taken all messages: 2; ask with")
    assert "127.0.0.1:9" not in ready.text


@pytest.mark.skipif(os.geteuid() == 0, reason="the kernel keeps root from no file")
def test_what_may_not_be_written_ends_nothing(make_site: MakeSite) -> None:
    """An ordinary user whose state folder became another's: calls work, /readyz says what to do."""
    site = make_site(figures=True)
    site.post("/v1/analyze", GOOD)
    files = [path for path in site.folder.iterdir() if path.is_file()]
    try:
        for path in files:
            path.chmod(0o000)
        site.folder.chmod(0o500)
        # What is open stays open; what is looked for anew is not found.
        for _ in range(3):
            assert site.post("/v1/analyze", GOOD).status_code == 200
        assert site.get("/metrics").status_code == 200
        assert site.get("/healthz").status_code == 200
    finally:
        site.folder.chmod(0o700)
        for path in files:
            path.chmod(0o600)
    spin(lambda: site.get("/readyz").json()["status"] == "ready")
