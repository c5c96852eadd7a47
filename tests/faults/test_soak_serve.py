"""scripts/soak.py --serve: what a troubled server may not do would be noticed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import cast

import pytest
import soak_serve

Answers = dict[str, tuple[int, dict[str, str], str]]  # by path: status, headers, body


@contextmanager
def answering(answers: Answers) -> Iterator[soak_serve.Soak]:
    """Yield the clients of a server that gives these answers, whatever else it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answers[self.path]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    standing = SimpleNamespace(port=server.server_port, token="any")
    try:
        yield soak_serve.Soak(cast("soak_serve.Server", standing), 1, can_fill=False)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_answer_that_may_not_be_is_noticed() -> None:
    """A 5xx, but for a 503 that says when to come back; and what is no JSON."""
    answers: Answers = {
        "/fine": (503, {"Retry-After": "1"}, "{}"),
        "/bare": (503, {}, "{}"),
        "/bug": (500, {"Retry-After": "1"}, "{}"),
        "/text": (200, {}, "oh"),
    }
    with answering(answers) as clients:
        assert [clients.ask("GET", path)[0] for path in answers] == [503, 503, 500, 200]
    assert [words.split(":")[0] for words in clients.wrong] == [
        "GET /bare",
        "GET /bug",
        "GET /text",
    ]


def test_a_job_that_is_lost_or_doubled_is_noticed() -> None:
    """And a result that is another job's."""
    done = {"ended_at": "now", "status": "SUCCESS", "attempts": 1}
    answers: Answers = {
        "/v1/jobs/fine": (200, {}, json.dumps(done)),
        "/v1/jobs/fine/result": (200, {}, '{"result": {"n": 1}}'),
        "/v1/jobs/lost": (404, {}, "{}"),
        "/v1/jobs/twice": (200, {}, json.dumps({**done, "status": "FAILED", "attempts": 2})),
        "/v1/jobs/other": (200, {}, json.dumps(done)),
        "/v1/jobs/other/result": (200, {}, '{"result": {"n": 1}}'),
    }
    with answering(answers) as clients:
        clients.accepted = {"fine": 1, "lost": 2, "twice": 3, "other": 4}
        assert clients.settle() == {"SUCCESS": 2, "FAILED": 1}
    found = [" ".join(words.split()[:4]) for words in clients.wrong]
    assert found == ["job lost is lost:", "job twice was run", "the result of job"]


def test_a_report_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json."""
    report = soak_serve.Report(3, 1.5, {"analyze 200": 7}, {"kill": 1}, {"SUCCESS": 2})
    soak_serve.show(report)
    words = capsys.readouterr().out
    assert "answers: analyze 200 7" in words
    assert "wrong: nothing" in words
    assert report.is_clean
    assert not soak_serve.Report(3, wrong=["a job is lost"]).is_clean
