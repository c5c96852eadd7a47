"""A plugin's own page: what it shows, to whom, and what can be done there."""

from __future__ import annotations

import html
import re
import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.http.conftest import PATIENCE_SECONDS, MakeSite, Site, spin
from tests.conftest import WritePlugin
from toolrunner.api.keys import Role

PAGE = "/page/plugins/sample"
HOSTILE = "<script>alert(1)</script>"
SAMPLE = """
    import time

    class InvalidInput(Exception):
        pass

    def run(payload, context):
        if payload.get("invalid"):
            raise InvalidInput("not that one")
        if payload.get("fills"):
            (context.scratch / "a").write_bytes(bytes(payload["fills"]))
        while payload.get("wait"):
            time.sleep(0.01)
        if payload.get("many"):
            return {"numbers": list(range(payload["many"]))}
        if payload.get("masks"):
            context.artifact("m.png", b"\\x89PNG\\r\\n\\x1a\\n" + bytes(1 << 20), "image/png")
            return {"all": [{"mask": {"artifact": "m.png"}}] * payload["masks"]}
        if payload.get("fail"):
            raise ValueError("<img src=x onerror=alert(1)> in /srv/secret/place.py")
        return {
            "text": "<script>alert(1)</script>",
            "svg": context.artifact("a.svg", b"<svg onload='alert(1)'/>", "image/svg+xml"),
            "fake": context.artifact("fake.png", b"<html><script>alert(1)</script>", "image/png"),
            "true": context.artifact("true.png", b"\\x89PNG\\r\\n\\x1a\\nrest", "image/png"),
            "large": context.artifact("large.bin", bytes(9 << 20)),
        }
"""
FINDS = """
    def run(payload):
        corners = [[1, 2], [11, 2], [11, 22], [1, 22]]
        return {"width": 64, "height": 48, "codes": [{"text": "<b>mug</b>", "corners": corners}]}
"""
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def plugins(write_plugin: WritePlugin) -> tuple[Path, ...]:
    """One that takes JSON and says hostile things, one that finds something, one of little disk."""
    schema = '{ type = "object", examples = [{ text = "</textarea><script>", n = 1 }] }'
    return (
        write_plugin(SAMPLE, input_schema=schema, limits="{ memory_mb = 64 }"),
        write_plugin(FINDS, name="finds", input="image"),
        write_plugin(SAMPLE, name="fills", limits="{ memory_mb = 64, scratch_mb = 1 }"),
    )


@pytest.fixture
def site(make_site: MakeSite, plugins: tuple[Path, ...]) -> Site:
    """A server without keys, whose visitor is the operator."""
    return make_site(*plugins, figures=True)


def confirmation(page: httpx.Response) -> str:
    """Return what the forms of a page send along."""
    assert page.status_code == 200, page.text
    found = re.search(r'<meta name="confirmation" content="([0-9a-f]+)">', page.text)
    assert found is not None
    return found[1]


def tried(client: httpx.Client, name: str = "sample", **parts: Any) -> httpx.Response:
    """Try a plugin as its page does."""
    page = client.get(f"/page/plugins/{name}")
    headers = {"X-Confirmation": confirmation(page), "HX-Request": "true"}
    files = {
        key: value if isinstance(value, tuple) else (None, value) for key, value in parts.items()
    }
    files.setdefault("plugin", (None, name))
    return client.post(f"/page/plugins/{name}/try", files=files, headers=headers)


def signed_in(site: Site, name: str, **key: Any) -> httpx.Client:
    """Return a browser of somebody who has signed in with a new key."""
    assert site.doors.keys is not None
    _, token = site.doors.keys.create(name, **key)
    url = f"http://127.0.0.1:{site.address[1]}"
    client = site.stack.enter_context(httpx.Client(base_url=url, timeout=PATIENCE_SECONDS))
    assert client.post("/page/login", data={"key": token}).status_code == 303
    return client


def events(stream: httpx.Response, last: str) -> set[str]:
    """Return the names of the events of a stream until one of that name."""
    found = set()
    for line in stream.iter_lines():
        kind, _, name = line.partition(": ")
        if kind == "event":
            found.add(name)
        if name == last:
            break
    return found


def test_a_page_has_what_is_known_of_a_plugin(site: Site) -> None:
    """Its limits in force, how its calls start, and its example as a form; all of it as text."""
    page = site.client.get(PAGE)
    text = html.unescape(page.text)
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert '"text": "</textarea><script>"' in text
    assert "</textarea><script>" not in page.text
    assert re.search(r"memory_mb</th><td class=\"number\">64<", page.text)
    assert "Asked for: <strong>warm</strong>" in page.text
    assert str(site.folder.parent / "sample.py") in text
    headers = {"X-Confirmation": confirmation(page), "HX-Request": "true"}
    loaded = site.client.post(f"{PAGE}/load", headers=headers)
    assert re.search(r"Calls start <strong>(warm|cold)</strong>", loaded.text)
    assert site.client.get("/page/plugins/none").status_code == 404


def test_a_plugin_is_tried_on_a_picture(site: Site) -> None:
    """What its result names is drawn and labelled, as text; the result stands beside it."""
    answer = tried(site.client, "finds", image=("a.png", PNG, "image/png"))
    assert answer.status_code == 200
    assert '<polygon points="1,2 11,2 11,22 1,22"/>' in answer.text
    assert "1 &lt;b&gt;mug&lt;/b&gt;</text>" in answer.text
    assert 'data-width="64" data-height="48"' in answer.text
    assert "1 place that the result names" in answer.text
    assert "[1, 2]," in answer.text
    assert "style=" not in answer.text


def test_what_a_plugin_says_is_text(site: Site) -> None:
    """Also what it calls a picture; only pictures are pictures, and nothing is run."""
    answer = tried(site.client, payload="{}")
    assert answer.status_code == 200
    assert "<script" not in answer.text
    assert "<svg onload" not in answer.text
    assert html.escape(HOSTILE) in answer.text
    shown = re.findall(r'<img src="data:([^;]+);', answer.text)
    assert shown == ["image/png"]
    assert re.findall(r'<a href="data:([^;]+);base64,[^"]*" download="([^"]+)"', answer.text) == [
        ("application/octet-stream", "a.svg"),
        ("application/octet-stream", "fake.png"),
        ("image/png", "true.png"),
    ]
    assert "too large to be given back here" in answer.text


def test_a_large_result_is_cut(site: Site) -> None:
    """It is not on the page twice, or for long in the way of other calls."""
    answer = tried(site.client, payload='{"many": 300000}')
    assert "The result is longer: this is its beginning." in answer.text
    assert len(answer.text) < 1 << 20


def test_a_mask_is_sent_once_however_often_it_is_named(site: Site) -> None:
    """A small result would be a page of hundreds of megabytes."""
    answer = tried(site.client, payload='{"masks": 20}')
    assert answer.text.count('class="mask"') == 1
    assert len(answer.text) < 5 << 20


def test_a_failure_is_shown_with_its_envelope(site: Site) -> None:
    """As its caller gets it over HTTP, in the answer and among the last calls."""
    answer = tried(site.client, payload='{"fail": true}')
    page = site.client.get(PAGE)
    for text in (answer.text, page.text):
        assert "ExecutionError" in text
        assert html.escape("<img src=x onerror=alert(1)> in place.py") in text
        assert "/srv/secret" not in text
        assert "Traceback" not in text
        assert "memory_mb used" in text
    [line] = [one for one in site.audited() if one["route"] == f"POST {PAGE}/try"]
    assert (line["plugin"], line["outcome"], line["status"]) == ("sample", "ExecutionError", 200)
    assert [one.call.door for one in site.executed] == ["page"]


def test_a_call_that_a_limit_has_ended_says_which(site: Site) -> None:
    """Not the one of which it used the largest share otherwise."""
    answer = tried(site.client, "fills", payload=f'{{"fills": {2 << 20}}}')
    page = site.client.get("/page/plugins/fills")
    assert "DiskLimitExceeded" in answer.text
    assert "<dt>scratch_mb</dt>" in answer.text
    [row] = re.findall(r"<tr><td>.*DiskLimitExceeded.*</tr>", page.text)
    assert "ended by scratch_mb" in row
    assert "of 1: ended by it" in page.text
    tried(site.client, "fills", payload='{"masks": 1}')
    page = site.client.get("/page/plugins/fills")
    assert re.search(r"<tr>.*success.*memory_mb \d+ %", page.text)


def test_what_is_a_callers_fault_is_no_alarm(site: Site) -> None:
    """Neither where it is tried, nor among the last calls or in the figures; a plugin's own is."""
    for payload, kind, mark in (
        ('{"invalid": true}', "ValidationError", "refused"),
        ('{"fail": true}', "ExecutionError", "failed"),
    ):
        answer = tried(site.client, payload=payload)
        assert f'<span class="mark {mark}">{kind}</span>' in answer.text
        assert ('class="notice bad"' in answer.text) == (mark == "failed")
        assert f'<span class="mark {mark}">{kind}</span>' in site.client.get(PAGE).text


def test_a_call_that_is_refused_says_why(site: Site) -> None:
    """A body that is no payload is the caller's, and so is a form of another plugin."""
    assert "has to be a JSON object" in tried(site.client, payload="[]").text
    refused = tried(site.client, payload="{}", plugin="finds")
    assert refused.status_code == 400
    assert "this form is of another plugin" in refused.text
    assert not site.executed


def test_a_plugin_is_suspended_and_resumed(site: Site) -> None:
    """By a form of the page alone; it takes no calls meanwhile."""
    form = {"confirmation": confirmation(site.client.get(PAGE))}
    assert site.client.post(f"{PAGE}/suspend", data={"confirmation": "0" * 64}).status_code == 403
    other = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    assert site.client.post(f"{PAGE}/suspend", data=form, headers=other).status_code == 403
    gone = site.client.post(f"{PAGE}/suspend", data=form)
    assert (gone.status_code, gone.headers["location"]) == (303, PAGE)
    suspended = site.client.get(PAGE).text
    assert "Suspended by the operator" in suspended
    assert re.search(r"data-takes-none>It takes no calls: suspended by the operator", suspended)
    assert "PluginUnavailable" in tried(site.client, payload="{}").text
    site.client.post(f"{PAGE}/resume", data=form)
    resumed = site.client.get(PAGE).text
    assert "Suspended by" not in resumed
    assert "data-takes-none" not in resumed
    outcomes = [one["outcome"] for one in site.audited() if one["plugin"] == "sample"]
    assert outcomes == ["suspended by operator", "PluginUnavailable", "resumed"]


def test_what_is_tried_is_confirmed(site: Site) -> None:
    """Or else any page could have a browser run calls."""
    files = {"plugin": (None, "sample"), "payload": (None, "{}")}
    assert site.client.post(f"{PAGE}/try", files=files).status_code in {403, 415}
    wrong = {"X-Confirmation": "0" * 64}
    assert site.client.post(f"{PAGE}/try", files=files, headers=wrong).status_code == 403
    assert not site.executed


def test_whoever_leaves_ends_the_call(site: Site) -> None:
    """As Cancel does, or a closed tab."""
    value = confirmation(site.client.get(PAGE))
    parts = (("plugin", "sample"), ("payload", '{"wait": true}'))
    body = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in parts
    )
    body += "--x--\r\n"
    head = (
        f"POST {PAGE}/try HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Confirmation: {value}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(site.address) as client:
        client.sendall((head + body).encode())
        plugins = site.doors.backend.plugins
        spin(lambda: (found := plugins.get_plugin("sample")) and found.in_flight)
    spin(lambda: site.executed)
    assert [one.outcome for one in site.executed] == ["Cancelled"]


def test_a_caller_sees_its_own(make_site: MakeSite, plugins: tuple[Path, ...]) -> None:
    """Its plugins and its calls, nothing of the host, and no switch."""
    site = make_site(*plugins, keys=True, figures=True)
    shop, other = signed_in(site, "shop", plugins=("sample",)), signed_in(site, "other")
    operator = signed_in(site, "ops", role=Role.OPERATOR)
    assert tried(shop, payload='{"fail": true}').status_code == 200
    assert "ExecutionError" in shop.get(PAGE).text
    assert "ExecutionError" in operator.get(PAGE).text
    page = other.get(PAGE)
    assert page.status_code == 200
    assert "ValueError: &lt;img" not in page.text
    live = "/page/live?of=plugin&name=sample"
    for browser, sees_all in ((operator, True), (other, False), (shop, False)):
        assert ("<dt>Failed</dt>" in browser.get(PAGE).text) == sees_all
        assert (">in flight</th>" in browser.get("/page/plugins").text) == sees_all
        with browser.stream("GET", live) as stream:
            names = events(stream, "calls")
        assert ("figures" in names) == sees_all
    assert "No call has ended yet, of those that are yours to see" in page.text
    assert str(site.folder.parent) not in page.text
    assert "Suspend" not in page.text
    form = {"confirmation": confirmation(page)}
    for what in ("suspend", "resume", "load"):
        assert other.post(f"{PAGE}/{what}", data=form).status_code == 403
    assert shop.get("/page/plugins/finds").status_code == 404
    assert shop.get("/page/plugins/finds/sample").status_code == 404
    assert httpx.get(f"{shop.base_url}{PAGE}").headers["location"].startswith("/page/login")


def test_a_key_that_is_revoked_ends_its_call(
    make_site: MakeSite, plugins: tuple[Path, ...]
) -> None:
    """And whoever signed in with it is let in no more."""
    site = make_site(*plugins, keys=True)
    shop = signed_in(site, "shop")
    waiting = threading.Thread(target=tried, args=(shop,), kwargs={"payload": '{"wait": true}'})
    waiting.start()
    spin(lambda: (found := site.doors.backend.plugins.get_plugin("sample")) and found.in_flight)
    assert site.doors.keys is not None
    site.doors.keys.revoke("shop")
    waiting.join(PATIENCE_SECONDS)
    assert [one.outcome for one in site.executed] == ["Cancelled"]
    assert shop.get(PAGE).status_code == 303


def test_there_is_a_sample_to_try_it_on(site: Site) -> None:
    """A picture that the plugin takes, never shown as a page."""
    sample = site.client.get("/page/plugins/finds/sample")
    assert sample.status_code == 200
    assert sample.content.startswith(b"\xff\xd8")
    assert sample.headers["x-sample-name"] == "sample.jpeg"
    assert sample.headers["content-disposition"] == 'attachment; filename="sample.jpeg"'
    assert site.client.get(f"{PAGE}/sample").status_code == 404
