"""Tools for agents over HTTP: the official client, keys, and what ends a call."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import httpx
import pytest
from mcp import types
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.exceptions import MCPError

import toolrunner.api.http.agents.route
from tests.api.http.conftest import MakeSite, Site, detail_of, spin
from tests.api.mcp.agents import (
    ERAS,
    OBEDIENT,
    Heard,
    Progress,
    begun,
    error_of,
    over_http,
    run,
)
from tests.conftest import WritePlugin
from toolrunner.api.http.agents.streams import MOST_OF_A_CALLER
from toolrunner.api.http.held import Held

LOOKS = """
    def run(payload, context):
        context.artifact("same.png", payload["image"], payload["mime_type"])
        return {"size": len(payload["image"]), "options": payload.get("options")}
"""
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
PNG = "iVBORw0KGgphbmQgc28gb24="


@pytest.fixture
def sites(make_site: MakeSite, write_plugin: WritePlugin) -> MakeSite:
    """Return a function that starts a server with the plugins of these tests."""

    def make(**settings: Any) -> Site:
        schema = "{ type = 'object', properties = { n = { type = 'integer' } } }"
        return make_site(
            write_plugin(OBEDIENT),
            write_plugin(OBEDIENT, name="strict", input_schema=schema),
            write_plugin(LOOKS, name="looks", input="image"),
            write_plugin(OBEDIENT, name="vision", tools="{ a = {}, b_c = {} }"),
            figures=True,
            **settings,
        )

    return make


def address_of(site: Site) -> str:
    """Return where a server is."""
    return f"http://127.0.0.1:{site.address[1]}"


def key_of(site: Site, name: str = "somebody", **options: Any) -> str:
    """Return a new key."""
    assert site.doors.keys is not None
    return site.doors.keys.create(name, **options)[1]


def message(method: str, params: dict[str, Any] | None = None, number: int = 1) -> dict[str, Any]:
    """Return a request as it is sent."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}}


def called(**arguments: Any) -> dict[str, Any]:
    """Return a call of the tool "sample"."""
    return message("tools/call", {"name": "sample", "arguments": arguments})


def calls(site: Site) -> list[dict[str, Any]]:
    """Return the audit's lines of calls."""
    return [one for one in site.audited() if one.get("route") == "POST /mcp"]


@pytest.mark.parametrize("mode", ERAS)
def test_plugins_are_called_and_followed(sites: MakeSite, mode: str) -> None:
    """With JSON, with an image, with progress; each call is recorded, audited and counted."""
    site = sites(keys=True)
    key = key_of(site)

    async def main() -> None:
        async with over_http(address_of(site), mode=mode, key=key) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert names >= {"sample", "strict", "looks", "vision_a", "vision_b_c", "text-stats"}
            progress = Progress()
            given = {"n": 1, "progress": [0.5, 1.0], "artifacts": [["a.txt", "text/plain", "x"]]}
            result = await client.call_tool("sample", given, progress_callback=progress)
            assert result.structured_content == {"got": 1}
            assert progress.told[-1] == (1.0, 1.0, "so far")
            assert isinstance(result.content[1], types.EmbeddedResource)
            picture = {"image": PNG, "mime_type": "image/png", "options": {"a": 1}}
            seen = await client.call_tool("looks", picture)
            assert seen.structured_content == {"size": 17, "options": {"a": 1}}
            assert isinstance(seen.content[1], types.ImageContent)
            assert (await client.call_tool("vision_b_c", {})).structured_content == {"got": None}
            bad = await client.call_tool("strict", {"n": "one"})
            assert "is not of type 'integer'" in error_of(bad, "ValidationError")["message"]
            large = await client.call_tool("sample", {"large": 400_000})
            assert isinstance(large.content[1], types.EmbeddedResource)

    run(main)
    assert [one.plugin for one in site.executed] == [
        "sample",
        "looks",
        "vision:b_c",
        "strict",
        "sample",
    ]
    lines = calls(site)
    assert [(one["plugin"], one["outcome"], one["caller"]) for one in lines] == [
        ("sample", "success", "somebody"),
        ("looks", "success", "somebody"),
        ("vision:b_c", "success", "somebody"),
        ("strict", "ValidationError", "somebody"),
        ("sample", "success", "somebody"),
    ]
    assert lines[0]["artifacts"] == [{"name": "a.txt", "bytes": 1}]
    operator = {"X-API-Key": key_of(site, "op", role="operator")}
    figures = site.get("/metrics", **operator).text
    assert 'toolrunner_http_requests_total{method="POST",route="/mcp",status="200"}' in figures
    # Bytes that a caller has not taken are counted no more once he has.
    assert site.doors.held._of == {}


def test_a_key_has_its_own_tools(sites: MakeSite) -> None:
    """Those that it does not allow are as if they did not exist, but for the audit."""
    site = sites(keys=True)
    key = key_of(site, plugins=("vision",), per_minute=1000)

    async def main() -> None:
        async with over_http(address_of(site), key=key) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            assert names == ["vision_a", "vision_b_c"]
            for name in ("sample", "smaple", "vision"):
                with pytest.raises(MCPError) as raised:
                    await client.call_tool(name, {})
                assert raised.value.code == types.INVALID_PARAMS
                assert raised.value.message.endswith("known are: vision_a, vision_b_c")

    run(main)
    assert site.executed == []
    assert [(one["plugin"], one["outcome"]) for one in calls(site)] == [
        ("sample", "Forbidden"),
        ("smaple", "PluginNotFound"),
        ("vision", "PluginNotFound"),
    ]


def test_it_asks_for_keys_as_every_route_does(sites: MakeSite) -> None:
    """None, a wrong one, one too often used; nothing of the protocol is reached."""
    site = sites(keys=True)
    body = message("tools/list")
    detail_of(site.post("/mcp", body, **HEADERS), 401, "Unauthorized")
    wrong = {**HEADERS, "Authorization": "Bearer wrong"}
    detail_of(site.post("/mcp", body, **wrong), 401, "Unauthorized")
    own = {**HEADERS, "X-API-Key": key_of(site, per_minute=1)}
    assert site.post("/mcp", body, **own).status_code == 200
    assert detail_of(site.post("/mcp", body, **own), 429, "RateLimited")
    reasons = [one["reason"] for one in site.audited() if one["status"] in {401, 429}]
    assert reasons == ["no key", "unknown key", "rate of the key"]


def test_pages_of_other_sites_are_refused(sites: MakeSite) -> None:
    """Without keys: by Host, and by Origin."""
    site = sites()
    body = message("tools/list")
    detail_of(site.post("/mcp", body, **HEADERS, Host="evil.example"), 403, "Forbidden")
    detail_of(site.post("/mcp", body, **HEADERS, Origin="http://evil.example"), 403, "Forbidden")
    assert site.post("/mcp", body, **HEADERS, Origin=address_of(site)).status_code == 200


def test_what_is_no_message_is_refused(sites: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strict JSON, of a size that holds up nobody; methods and headers that there are."""
    site = sites()
    for body in (b"{", b'{"a": 1, "a": 2}', b'{"a": NaN}', b"[" * 200 + b"]" * 200, b"\xff"):
        answer = site.post("/mcp", body, **HEADERS)
        assert answer.status_code == 400, body
        assert answer.json()["error"]["code"] == types.PARSE_ERROR
    for body in (b"[]", b"{}", b"1", b'{"jsonrpc": "2.0", "id": {}, "method": 1}'):
        answer = site.post("/mcp", body, **HEADERS)
        assert answer.status_code == 400, body
        assert answer.json()["error"]["code"] == types.INVALID_REQUEST
    answer = site.post("/mcp", {**message("ping"), "params": []}, **HEADERS)
    assert answer.json()["id"] == 1
    assert site.post("/mcp", message("tools/list"), Accept="text/html").status_code == 406
    monkeypatch.setattr(toolrunner.api.http.agents.route, "MOST_MESSAGE_MB", 0)
    detail_of(site.post("/mcp", b"{}", **HEADERS), 413, "PayloadTooLarge")
    detail_of(site.get("/mcp", Accept="application/json"), 405, "MethodNotAllowed")
    for method in ("PUT", "DELETE", "OPTIONS"):
        refused = site.client.request(method, "/mcp")
        detail_of(refused, 405, "MethodNotAllowed")
        assert {"DELETE", "GET", "POST"} <= {*refused.headers["allow"].split(", ")}
    detail_of(site.get("/mcp", **{"Mcp-Session-Id": "x" * 200}), 404, "NotFound")


def test_without_the_extra_it_says_so(sites: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """And imports nothing."""
    monkeypatch.setattr(toolrunner.api.http.agents.route, "is_installed", lambda: False)
    site = sites()
    detail = detail_of(site.post("/mcp", message("tools/list"), **HEADERS), 404, "NotFound")
    assert "pip install 'toolrunner-sandbox[mcp]'" in detail["message"]


def waits(site: Site) -> bool:
    """Whether a call of the plugin "sample" runs."""
    status = site.doors.backend.plugins.get_plugin("sample")
    return status is not None and status.in_flight > 0


@pytest.mark.parametrize("version", ["2025-06-18", "2026-07-28"])
def test_a_client_that_leaves_ends_its_call(sites: MakeSite, version: str) -> None:
    """In either era: the connection is what a call belongs to."""
    site = sites()
    asked = called(wait=1)
    if version == "2026-07-28":
        asked["params"]["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    body = json.dumps(asked).encode()
    lines = [f"{name}: {value}" for name, value in HEADERS.items()]
    lines += ["Host: localhost", f"Content-Length: {len(body)}", f"MCP-Protocol-Version: {version}"]
    lines += ["Mcp-Method: tools/call", "Mcp-Name: sample"]
    with socket.create_connection(site.address[:2]) as client:
        client.sendall("\r\n".join(["POST /mcp HTTP/1.1", *lines, "", ""]).encode() + body)
        spin(lambda: waits(site))
    spin(lambda: calls(site))
    assert [one["outcome"] for one in calls(site)] == ["Cancelled"]


def test_a_revoked_key_ends_its_calls_and_streams(sites: MakeSite) -> None:
    """The call answers who has ended it; a stream of news just ends."""
    site = sites(keys=True)
    key = key_of(site)
    assert site.doors.keys is not None

    async def main() -> None:
        heard = Heard()
        async with (
            over_http(address_of(site), mode="legacy", key=key, heard=heard) as client,
            over_http(address_of(site), key=key) as modern,
        ):
            call = await begun(client, {})
            async with modern.listen(tools_list_changed=True) as news:
                assert site.doors.keys is not None
                site.doors.keys.revoke("somebody")
                error = error_of(await call, "Cancelled")
                assert error["details"]["cancelled_by"] == "operator"
                with pytest.raises(SubscriptionLost):
                    await anext(news)

    run(main)
    spin(lambda: not site.doors.guests.keys)


def initialized(site: Site, client: httpx.Client, key: str = "") -> dict[str, str]:
    """Begin a session; return its headers."""
    params = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    own = {**HEADERS, "MCP-Protocol-Version": "2025-06-18"}
    if key:
        own["X-API-Key"] = key
    url = f"{address_of(site)}/mcp"
    answer = client.post(url, json=message("initialize", params), headers=own)
    assert answer.status_code == 200
    return {**own, "Mcp-Session-Id": answer.headers["mcp-session-id"]}


def test_a_cancel_is_of_its_own_session_alone(sites: MakeSite) -> None:
    """Of the same key and session, by the number of the request; others are not heard."""
    site = sites(keys=True)
    url, key = f"{address_of(site)}/mcp", key_of(site)
    answers: list[httpx.Response] = []
    cancel = {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": 1},
    }
    with httpx.Client(timeout=60) as client:
        own = initialized(site, client, key)
        other_session = initialized(site, client, key)
        other_key = {**own, "X-API-Key": key_of(site, "other")}
        unnamed = {name: value for name, value in own.items() if name != "Mcp-Session-Id"}

        def call() -> None:
            answers.append(httpx.post(url, json=called(wait=1), headers=own, timeout=60))

        thread = threading.Thread(target=call)
        thread.start()
        spin(lambda: waits(site))
        for headers in (other_session, other_key, unnamed):
            assert client.post(url, json=cancel, headers=headers).status_code == 202
        wrong = {**cancel, "params": {"requestId": 2}}
        assert client.post(url, json=wrong, headers=own).status_code == 202
        assert site.executed == []
        assert client.post(url, json=cancel, headers=own).status_code == 202
        thread.join(60)
    [answer] = answers
    document = json.loads(answer.text.split("data: ", 1)[1].splitlines()[0])
    result = types.CallToolResult.model_validate(document["result"])
    error = error_of(result, "Cancelled")
    assert error["details"]["cancelled_by"] == "caller"


@pytest.mark.parametrize("mode", ERAS)
def test_a_caller_has_so_many_streams(sites: MakeSite, mode: str) -> None:
    """One too many is refused, another key has its own, and one that is closed makes room."""
    site = sites(keys=True)
    url, key, other = f"{address_of(site)}/mcp", key_of(site), key_of(site, "other")
    stream = {"Accept": "text/event-stream", "X-API-Key": key}

    def opened(client: httpx.Client, **headers: str) -> AbstractContextManager[httpx.Response]:
        return client.stream("GET", url, headers={**stream, **headers})

    async def main() -> None:
        async with over_http(address_of(site), key=key) as client:
            with pytest.raises(MCPError, match="too many streams of changes"):
                async with client.listen(tools_list_changed=True):
                    pass

    with httpx.Client(timeout=60, limits=httpx.Limits(max_connections=None)) as client:
        with ExitStack() as stack:
            for _ in range(MOST_OF_A_CALLER):
                assert stack.enter_context(opened(client)).status_code == 200
            if mode == "legacy":
                refused = client.get(url, headers=stream)
                detail = detail_of(refused, 429, "RateLimited")
                assert "too many streams of changes" in detail["message"]
                assert refused.headers["retry-after"] == "2"
            else:
                run(main)
            with opened(client, **{"X-API-Key": other}) as news:
                assert news.status_code == 200

        def has_room() -> bool:
            with opened(client) as news:
                return news.status_code == 200

        spin(has_room)


def test_a_session_that_is_over_ends_what_it_began(sites: MakeSite) -> None:
    """Its calls, and its stream of news."""
    site = sites()
    url = f"{address_of(site)}/mcp"
    with httpx.Client(timeout=60) as client:
        own = initialized(site, client)
        stream = {**own, "Accept": "text/event-stream"}
        with client.stream("GET", url, headers=stream) as news:
            assert news.headers["content-type"].startswith("text/event-stream")
            assert httpx.delete(url, headers=own).status_code == 200
            assert news.read() == b": here\n\n"


@pytest.mark.parametrize("mode", ERAS)
def test_who_listens_hears_of_his_own_plugins(sites: MakeSite, mode: str) -> None:
    """Of changes of those that his key allows; once for each reload."""
    site = sites(keys=True)
    key = key_of(site, plugins=("sample",))
    heard = Heard()

    async def main() -> None:
        async with over_http(address_of(site), mode=mode, key=key, heard=heard) as client:
            await client.list_tools()
            if mode == "legacy":
                await told(client)
            else:
                async with client.listen(tools_list_changed=True):
                    await told(client)

    async def told(client: Any) -> None:
        await asyncio.to_thread(spin, lambda: site.doors.changes._listeners)
        for plugins in (["looks"], ["sample", "looks"]):
            loop.call_soon_threadsafe(site.doors.changes.tell, plugins)
        await heard.until("notifications/tools/list_changed")
        await client.list_tools()

    site.post("/mcp", message("ping"), **HEADERS, **{"X-API-Key": key})
    loop = loop_of(site)
    run(main)
    assert heard.messages.count("notifications/tools/list_changed") == 1


def loop_of(site: Site) -> asyncio.AbstractEventLoop:
    """Return a server's event loop, in which its listeners live."""
    making = site.doors.agents._making
    assert making is not None
    return making.get_loop()


def test_too_much_that_is_not_taken_is_refused(sites: MakeSite) -> None:
    """As of other answers: the call was made, and its answer is too much to hold."""
    site = sites()
    object.__setattr__(site.doors, "held", Held(10))
    site.doors.held.take("127.0.0.1", 5)

    async def main() -> None:
        async with over_http(address_of(site)) as client:
            error = error_of(await client.call_tool("sample", {"large": 400_000}), "Overloaded")
            assert error["details"]["retry_after_seconds"] == 1
            assert (await client.call_tool("sample", {"n": 1})).structured_content == {"got": 1}

    run(main)


def test_a_bug_is_told_to_the_log_alone(
    sites: MakeSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asks hears that there was one."""
    site = sites()

    def broken() -> None:
        message = "secret"
        raise KeyError(message)

    monkeypatch.setattr(site.doors.backend.plugins, "manifests", broken)

    async def main() -> None:
        for mode in ERAS:
            async with over_http(address_of(site), mode=mode) as client:
                with pytest.raises(MCPError, match="a bug in the server") as raised:
                    await client.call_tool("sample", {})
                assert "secret" not in str(raised.value)

    run(main)
    assert "secret" in caplog.text


def test_a_server_that_ends_ends_streams(sites: MakeSite) -> None:
    """At once, so that they hold up nobody; who listens is told that it was meant."""
    site = sites()
    url = f"{address_of(site)}/mcp"

    async def main() -> None:
        async with (
            over_http(address_of(site)) as client,
            client.listen(tools_list_changed=True) as news,
        ):
            site.draining.set()
            assert [event async for event in news] == []

    with httpx.stream("GET", url, headers={"Accept": "text/event-stream"}, timeout=60) as stream:
        run(main)
        assert stream.read() == b": here\n\n"


def test_long_text_is_not_repeated(sites: MakeSite) -> None:
    """What an answer would repeat has a bound."""
    site = sites()
    long, plain = "x" * 1025, called(n=1)
    marked = {**plain["params"], "_meta": {"progressToken": long}}
    for wrong in (
        {**plain, "id": long},
        {**plain, "method": long},
        {**plain, "params": {"requestId": long}},
        {**plain, "params": marked},
    ):
        answer = httpx.post(f"{address_of(site)}/mcp", json=wrong, headers=HEADERS)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == types.INVALID_REQUEST
        assert long not in answer.text
