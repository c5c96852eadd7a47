"""Plugins' states, liveness, readiness and figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import environments
from tests.api.http.conftest import MakeSite, Site, detail_of
from tests.conftest import WritePlugin

GOOD = {"plugin": "sample", "payload": {"n": 1}}


def test_plugins_are_a_flat_sorted_list(site: Site) -> None:
    """With everything that a status has."""
    site.post("/v1/analyze", GOOD)
    listed = site.get("/v1/plugins").json()
    names = [one["name"] for one in listed]
    assert names == sorted(names)
    assert {"sample", "looks", "text-stats"} <= set(names)
    [sample] = [one for one in listed if one["name"] == "sample"]
    assert sample.keys() == {
        "name",
        "state",
        "description",
        "version",
        "reason",
        "uptime_seconds",
        "last_used",
        "success_count",
        "error_count",
        "last_execution_time_ms",
        "avg_execution_time_ms",
        "in_flight",
        "environment",
        "suspended_by",
        "retry_after_seconds",
        "failures_in_row",
        "last_failure",
        "last_failure_at",
    }
    assert (sample["state"], sample["success_count"]) == ("INITIALIZED", 1)
    assert site.get("/v1/plugins/sample").json()["name"] == "sample"


def test_a_plugins_health_is_that_of_its_last_call(site: Site) -> None:
    """Its own fault makes it sick, and a good call well again."""
    health = site.get("/v1/plugins/sample/health").json()
    assert (health["state"], health["healthy"], health["reason"]) == ("LOADED", True, "")
    assert (health["last_failure"], health["last_failure_at"]) == ("", None)
    assert health.keys() == {*site.get("/v1/plugins/sample").json(), "healthy"}
    site.post("/v1/analyze", {"plugin": "sample", "payload": {"fail": "bug"}})
    sick = site.get("/v1/plugins/sample/health").json()
    assert (sick["state"], sick["healthy"]) == ("FAILED", False)
    site.post("/v1/analyze", GOOD)
    well = site.get("/v1/plugins/sample/health").json()
    assert (well["healthy"], well["reason"]) == (True, "")
    assert well["last_failure"] == sick["reason"] == "ExecutionError: run raised ValueError"
    assert well["last_failure_at"] is not None


def test_a_finished_installation_is_noticed_without_a_restart(
    make_site: MakeSite, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """The state says what is missing; once it is there, calls run, and once it is gone not."""
    body = "import tiny\ndef run(payload): return {'version': tiny.VERSION}\n"
    path = write_plugin(body, dependencies='["tiny"]')
    site = make_site(path)
    reason = (
        "PackageNotFoundError: needs tiny, which is not installed: "
        "toolrunner plugins install sample.py"
    )
    shown = site.get("/v1/plugins/sample").json()
    assert (shown["state"], shown["environment"], shown["reason"]) == ("UNAVAILABLE", "", reason)
    health = site.get("/v1/plugins/sample/health").json()
    assert (health["healthy"], health["reason"]) == (False, reason)
    call = {"plugin": "sample", "payload": {}}
    refused = detail_of(site.post("/v1/analyze", call), 400, "PluginUnavailable")
    assert refused["message"].endswith("toolrunner plugins install sample.py")
    environments.install(tmp_path / "state", path)
    assert site.get("/v1/plugins/sample").json()["environment"] == "own"
    assert site.post("/v1/analyze", call).json()["result"] == {"version": "1.0"}
    environments.remove(tmp_path / "state", path)
    detail_of(site.post("/v1/analyze", call), 400, "PluginUnavailable")


def test_a_plugin_that_there_is_not_is_404(site: Site) -> None:
    """Never 500, whatever is asked for."""
    for name in ("nobody", "%00", "%ff", "a" * 5000, "..%2f..", "sämple"):
        for path in ("", "/health"):
            response = site.get(f"/v1/plugins/{name}{path}")
            assert response.status_code == 404, (name, response.text)
            detail_of(response, 404, "NotFound")


def test_a_server_that_lives_is_ready(site: Site) -> None:
    """Until it drains."""
    assert site.get("/healthz").json() == {"status": "ok"}
    ready = site.get("/readyz")
    assert (ready.status_code, ready.json()) == (
        200,
        {"status": "ready", "reasons": [], "warnings": []},
    )
    site.draining.set()
    drained = site.get("/readyz")
    assert drained.status_code == 503
    assert drained.json() == {"status": "not ready", "reasons": ["draining"], "warnings": []}


def test_a_server_whose_store_is_gone_is_not_ready(make_site: MakeSite) -> None:
    """The reason names the store, and no path."""
    site = make_site(jobs=False)
    for file in site.folder.glob("jobs.sqlite3*"):
        file.write_bytes(b"\xff" * file.stat().st_size)
    response = site.get("/readyz")
    assert response.status_code == 503
    [reason] = response.json()["reasons"]
    assert "job store" in reason
    assert str(site.folder) not in response.text


def test_a_probe_asks_the_store_once(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the one write lock of all jobs for that."""
    site = make_site()
    asked: list[None] = []
    store = site.doors.backend._store
    check = store.check

    def counted() -> None:
        asked.append(None)
        check()

    monkeypatch.setattr(store, "check", counted)
    assert site.get("/readyz").status_code == 200
    assert len(asked) == 1


def test_without_figures_there_is_nothing_at_metrics(site: Site) -> None:
    """The app that no supervisor prepared."""
    detail_of(site.get("/metrics"), 404, "NotFound")
