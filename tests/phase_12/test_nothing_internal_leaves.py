"""Over HTTP nobody hears what is for the operator: no traceback, no log, no words of a bug."""

from __future__ import annotations

import ast
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import toolrunner.api
from tests.api.http.conftest import MakeSite, Response, Site, kept, make_site, site
from tests.conftest import WritePlugin

__all__ = ["kept", "make_site", "site"]
# A traceback quotes lines of the source; what is printed and logged goes to the log's tail.
TELLING = """
    import logging
    import os

    def run(payload):
        print("kept-printed")
        logging.getLogger().error("kept-logged")
        if payload["fail"] == "crash":
            os._exit(3)
        if payload["fail"] == "none":
            return None
        try:
            raise KeyError("told")  # kept-cause
        except KeyError:
            raise ValueError("told")  # kept-source
"""
UNLOADABLE = """
    print("kept-printed")
    raise ValueError("told")  # kept-source
"""
# Each service's steps, and a route that takes it.
STEPS = [
    ("analysis", "analyze", "/v1/analyze"),
    ("analysis", "submit", "/v1/jobs"),
    ("jobs", "get_job", "/v1/jobs/x"),
    ("jobs", "get_job", "/v1/jobs/x/result"),
    ("jobs", "get_job", "/v1/jobs/x/events"),
    ("jobs", "list_jobs", "/v1/jobs"),
    ("plugins", "list_plugins", "/v1/plugins"),
    ("plugins", "get_plugin", "/v1/plugins/sample"),
    ("plugins", "get_plugin", "/v1/plugins/sample/health"),
]
BROKEN = [LookupError, OSError, RuntimeError, sqlite3.OperationalError, TimeoutError]


def heard(response: Response) -> str:
    """Return all of a response that a client sees."""
    return f"{response.headers}\n{response.text}"


@pytest.mark.parametrize(
    ("body", "fail"),
    [(TELLING, "raise"), (TELLING, "crash"), (TELLING, "none"), (UNLOADABLE, "load")],
)
def test_a_failing_plugins_traceback_and_log_stay_here(
    body: str, fail: str, make_site: MakeSite, write_plugin: WritePlugin
) -> None:
    """Whoever waits for its call, leaves a job, or asks how the plugin is: header and body."""
    site = make_site(write_plugin(body))
    wanted = {"plugin": "sample", "payload": {"fail": fail}}
    responses = [site.post("/v1/analyze", wanted), site.post("/v1/jobs", wanted)]
    job = f"/v1/jobs/{responses[1].json()['id']}"
    site.ended(job.rpartition("/")[2])
    # Once more: by now it has failed before.
    responses.append(site.post("/v1/analyze", wanted))
    of_jobs = (job, f"{job}/result", f"{job}/events", "/v1/jobs")
    of_plugins = ("/v1/plugins", "/v1/plugins/sample", "/v1/plugins/sample/health")
    paths = (*of_jobs, *of_plugins, "/metrics", "/readyz", "/openapi.json")
    responses += [site.get(path) for path in paths]
    assert [one.status_code for one in responses[:5]] == [400, 202, 400, 200, 400]
    for response in responses:
        for word in ("kept-", "Traceback", "_internal", "log_tail", "sample.py", ", line "):
            assert word not in heard(response)


def known_headers() -> list[str]:
    """Return every word of the doors' sources that could be a header's name, but HTTP's own."""
    own = re.compile(
        "accept.*|authorization|connection|content-.*|expect|host|http|idempotency-key|keep-alive"
        "|origin|sec-.*|te|trailer|transfer-encoding|upgrade|x-api-key"
    )
    words = {"debug", "trace", "verbose", "internal", "forwarded", "cookie"}
    for path in Path(toolrunner.api.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.add(node.value.lower())
    words -= {"path", "body"}  # of ``Site.post`` itself
    plain = {word for word in words if re.fullmatch(r"[a-z][a-z0-9_-]{1,30}", word)}
    asked = plain | {f"x-{word}" for word in plain if not word.startswith("x-")}
    return sorted(word for word in asked if not own.fullmatch(word))


@pytest.mark.parametrize("value", ["1", "true"])
def test_no_header_of_a_request_opens_it(
    value: str, make_site: MakeSite, write_plugin: WritePlugin
) -> None:
    """Whatever word a door knows: with all of them said, it tells no more than without."""
    site = make_site(write_plugin(TELLING))
    wanted = {"plugin": "sample", "payload": {"fail": "raise"}}
    headers = known_headers()
    assert {"x-request-id", "x-plugin"} <= {*headers}
    for begin in range(0, len(headers), 400):
        said = dict.fromkeys(headers[begin : begin + 400], value)
        response = site.post("/v1/analyze", wanted, **said)
        assert response.status_code == 400
        for word in ("kept-", "Traceback", "_internal", "log_tail", ", line "):
            assert word not in heard(response)


@pytest.mark.parametrize("bug", BROKEN)
def test_a_bug_of_ours_is_told_without_its_words(
    bug: type[Exception],
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A structured error of the host; the exception and its traceback are in the log alone."""

    def fail(*_given: Any, **_named: Any) -> None:
        raise bug("kept-words")

    for service, step, path in STEPS:
        caplog.clear()
        with monkeypatch.context() as patch:
            patch.setattr(getattr(site.doors.backend, service), step, fail)
            is_sent = service == "analysis"
            wanted = {"plugin": "sample", "payload": {}}
            response = site.post(path, wanted) if is_sent else site.get(path)
        assert response.status_code == 500, path
        assert response.json()["detail"]["type"] == "InternalError", path
        assert "kept-words" in caplog.text, path
        for word in ("kept-words", "Traceback", "_internal", ", line "):
            assert word not in heard(response), path
