"""Plugins of several tools over HTTP: each is called, listed, counted and allowed by itself."""

from __future__ import annotations

import base64

import pytest

from tests.api.http.conftest import MakeSite, Site, detail_of
from tests.conftest import WritePlugin

BODY = """
    def run(payload, context):
        seen = len(payload["image"]) if "image" in payload else payload
        return {"tool": context.tool, "seen": seen}
"""
TOOLS = "{ count = {}, look = { input = 'image' }, broken = { error_key = 'tool' } }"


@pytest.fixture
def site(make_site: MakeSite, write_plugin: WritePlugin) -> Site:
    """A server whose plugin has tools, with keys."""
    return make_site(write_plugin(BODY, name="vision", tools=TOOLS), keys=True)


def header(site: Site, *plugins: str) -> dict[str, str]:
    """Return the header of a key for some plugins, or for all."""
    assert site.doors.keys is not None
    _, token = site.doors.keys.create("somebody", plugins=plugins or None)
    return {"Authorization": f"Bearer {token}"}


def test_a_tool_is_called_by_its_name(site: Site) -> None:
    """To wait for it, and as a job; with JSON or an image, as it takes them."""
    own = header(site)
    body: dict[str, object] = {"plugin": "vision:count", "payload": {"a": 1}}
    answer = {"result": {"tool": "count", "seen": {"a": 1}}, "plugin": "vision:count"}
    assert site.post("/v1/analyze", body, **own).json() == answer
    picture = base64.b64encode(b"12345").decode()
    look = {"plugin": "vision:look", "image": picture, "mime_type": "image/png"}
    assert site.post("/v1/analyze", look, **own).json()["result"]["seen"] == 5
    job = site.post("/v1/jobs", body, **own).json()
    assert job["plugin"] == "vision:count"
    events = site.client.get(f"/v1/jobs/{job['id']}/events", headers=own)
    assert "SUCCESS" in events.text
    assert site.get(f"/v1/jobs/{job['id']}/result", **own).json() == answer
    assert {one.plugin for one in site.executed} == {"vision:count", "vision:look"}


def test_each_tool_is_listed_with_its_own_state(site: Site) -> None:
    """The plugin as a whole is none that could be called."""
    own = header(site)
    site.post("/v1/analyze", {"plugin": "vision:broken", "payload": {}}, **own)
    states = {one["name"]: one["state"] for one in site.get("/v1/plugins", **own).json()}
    assert states["vision:broken"] == "FAILED"
    assert states["vision:count"] == "LOADED"
    assert "vision" not in states
    health = site.get("/v1/plugins/vision:broken/health", **own).json()
    assert health["reason"] == "ExecutionError: run returned an error"
    response = site.post("/v1/analyze", {"plugin": "vision", "payload": {}}, **own)
    assert "vision:broken, vision:count" in detail_of(response, 400, "PluginNotFound")["message"]


@pytest.mark.parametrize(
    ("allowed", "used"),
    [
        ("vision", ["vision:broken", "vision:count", "vision:look"]),
        ("vision:count", ["vision:count"]),
        ("visio", []),
    ],
)
def test_a_key_is_for_a_plugin_or_for_a_tool(site: Site, allowed: str, used: list[str]) -> None:
    """Who may use a plugin may use all of its tools."""
    own = header(site, allowed)
    assert [one["name"] for one in site.get("/v1/plugins", **own).json()] == used
    status = 200 if "vision:count" in used else 403
    body = {"plugin": "vision:count", "payload": {}}
    assert site.post("/v1/analyze", body, **own).status_code == status


def test_a_key_learns_no_name_but_of_its_plugins(
    make_site: MakeSite, write_plugin: WritePlugin
) -> None:
    """Of a tool or plugin that is not there: what it may have meant is one that it may use."""
    path = write_plugin(BODY, name="vision", tools=TOOLS)
    secret = write_plugin("def run(payload):\n    return {}\n", name="vision-secret")
    site = make_site(path, secret, keys=True)
    own = header(site, "vision", "gone")
    body: dict[str, object] = {"plugin": "vision:cuont", "payload": {}}
    for path_, status, kind in (
        ("/v1/analyze", 400, "PluginNotFound"),
        ("/v1/jobs", 400, "PluginNotFound"),
    ):
        message = detail_of(site.post(path_, body, **own), status, kind)["message"]
        assert message == (
            "there is no plugin 'vision:cuont'; did you mean 'vision:count'? "
            "known are: vision:broken, vision:count, vision:look"
        )
    there = detail_of(site.get("/v1/plugins/vision:cuont", **own), 404, "NotFound")["message"]
    assert "did you mean 'vision:count'? " in there
    for name in ("vision-secret", "vision-secre"):
        body = {"plugin": name, "payload": {}}
        message = detail_of(site.post("/v1/analyze", body, **own), 403, "Forbidden")["message"]
        assert message == (
            "this key does not allow the plugin; did you mean 'vision'? "
            "those that it allows: gone, vision"
        )
        there = detail_of(site.get(f"/v1/plugins/{name}", **own), 404, "NotFound")["message"]
        assert "secret" not in there.replace(repr(name), "")
    body = {"plugin": "gone", "payload": {}}
    assert "secret" not in site.post("/v1/analyze", body, **own).text
