"""The analyze endpoint: structured success, structured errors as 400, and never a raw exception."""

from __future__ import annotations

import ast
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import toolrunner.api.http
from tests.api.http.conftest import MakeSite, Site, kept, make_site, site
from tests.conftest import WritePlugin
from tests.phase_12.test_a_record_says_what_happened import AWKWARD

__all__ = ["kept", "make_site", "site"]
ROUTES = Path(toolrunner.api.http.__file__).parent


def test_success_is_the_result_and_the_plugins_name(site: Site) -> None:
    """And nothing else."""
    response = site.post("/v1/analyze", {"plugin": "sample", "payload": {"n": 3}})
    assert response.status_code == 200
    assert response.json() == {"result": {"got": 3}, "plugin": "sample"}


@pytest.mark.parametrize(
    ("body", "kind", "plugin"),
    [
        ({"plugin": "sample", "payload": {"fail": "bug"}}, "ExecutionError", "sample"),
        ({"plugin": "sample", "payload": {"fail": "crash"}}, "PluginCrashed", "sample"),
        ({"plugin": "sample", "payload": {"fail": "invalid"}}, "ValidationError", "sample"),
        ({"plugin": "nobody", "payload": {}}, "PluginNotFound", "nobody"),
        ({"plugin": "looks", "image": "", "mime_type": "image/png"}, "ValidationError", "looks"),
        ({"plugin": "looks", "image": "eA==", "mime_type": ""}, "ValidationError", "looks"),
        ({"plugin": "looks", "image": "%%%", "mime_type": "image/png"}, "ValidationError", "looks"),
    ],
)
def test_an_error_is_400_with_the_public_half_of_the_envelope(
    site: Site, body: dict[str, Any], kind: str, plugin: str
) -> None:
    """``{"detail": error["error"]}``: type, message, details, plugin, timestamp."""
    response = site.post("/v1/analyze", body)
    assert response.status_code == 400
    document = response.json()
    assert document.keys() == {"detail"}
    detail = document["detail"]
    assert detail.keys() == {"type", "message", "details", "plugin", "timestamp"}
    assert (detail["type"], detail["plugin"]) == (kind, plugin)
    assert detail["message"]
    assert detail["details"]["blame"] in {"caller", "plugin"}
    assert datetime.fromisoformat(detail["timestamp"]).utcoffset() is not None


def test_nothing_internal_leaves(site: Site) -> None:
    """No traceback, no log, no path, whatever a plugin does."""
    response = site.post("/v1/analyze", {"plugin": "sample", "payload": {"fail": "bug"}})
    for word in ("_internal", "traceback", "Traceback", "log_tail", "File ", "/srv/secret"):
        assert word not in response.text


@pytest.mark.parametrize("payload", [{}, AWKWARD, {"options": {"a": None, "b": []}, "c": 1.0}])
def test_what_goes_in_and_comes_out_is_left_as_it_is(
    payload: dict[str, Any], make_site: MakeSite, write_plugin: WritePlugin
) -> None:
    """No key is dropped or added on the way, by a route or by a job."""
    site = make_site(write_plugin("def run(payload): return payload"))
    wanted = {"plugin": "sample", "payload": payload}
    answer = {"result": payload, "plugin": "sample"}
    assert site.post("/v1/analyze", wanted).json() == answer
    job = site.post("/v1/jobs", wanted).json()["id"]
    site.ended(job)
    assert site.get(f"/v1/jobs/{job}/result").json() == answer


def test_a_call_is_recorded_once_whatever_it_answers(site: Site) -> None:
    """In the registry's metrics, by the one choke point."""
    site.post("/v1/analyze", {"plugin": "sample", "payload": {}})
    site.post("/v1/analyze", {"plugin": "sample", "payload": {"fail": "crash"}})
    status = site.get("/v1/plugins/sample").json()
    assert (status["success_count"], status["error_count"]) == (1, 1)
    assert len(site.executed) == 2


def test_routes_know_services_and_no_tool_runner() -> None:
    """The path is fixed: a route delegates to the services."""
    for path in ROUTES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = {alias.name for alias in node.names}
                assert "ToolRunner" not in names, path
                assert not (node.module or "").startswith("sandbox"), path
