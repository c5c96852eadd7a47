"""What one client, without a key, can neither hold nor fill; and what is left for the others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import pytest

import toolrunner.api.http.clients
import toolrunner.api.serve.protocol
from tests.api.http.conftest import MakeSite, Site, detail_of, spin
from tests.api.http.test_edges import read_all
from toolrunner.api.http.clients import TOLD, Clients, client_of

ELSEWHERE = "127.0.0.2"  # an address of the loopback's that is another client


@contextlib.contextmanager
def held(site: Site, number: int, first: bytes = b"", of: str = "127.0.0.1") -> Iterator[None]:
    """Sit on connections from an address."""
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            client = stack.enter_context(
                socket.create_connection(site.address[:2], source_address=(of, 0))
            )
            client.sendall(first)
        yield


def asked(site: Site, path: str, of: str = "127.0.0.1") -> int:
    """Return the status of an answer on a connection of its own; 0 if there was none."""
    with socket.create_connection(site.address[:2], source_address=(of, 0)) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = read_all(client)
    return int(answer.split()[1]) if answer else 0


@pytest.mark.parametrize("first", [b"", b"GET /healthz HT"], ids=["silent", "slow"])
def test_one_client_has_no_more_connections_than_it_may(make_site: MakeSite, first: bytes) -> None:
    """It is told so; others are served meanwhile, and so it is when it has let go."""
    site = make_site(connections_per_client=3)
    with held(site, 3, first):
        spin(lambda: asked(site, "/v1/plugins") == 503)
        assert asked(site, "/v1/plugins", of=ELSEWHERE) == 200
    spin(lambda: asked(site, "/v1/plugins") == 200)


def test_probes_are_answered_while_everything_is_full(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of whoever sits on the connections, and on those that are kept for probes as well."""
    monkeypatch.setattr(toolrunner.api.serve.protocol, "MOST_CONNECTIONS", 5)
    monkeypatch.setattr(toolrunner.api.serve.protocol, "MOST_PROBES", 3)
    site = make_site()
    with held(site, 12, b"GET /he"):
        spin(lambda: asked(site, "/v1/plugins", of=ELSEWHERE) == 503)
        for path in ("/healthz", "/readyz", "/healthz?"):
            assert asked(site, path) == asked(site, path, of=ELSEWHERE) == 200
        assert asked(site, "/metrics") == 404  # no figures are kept in this server, and it says so
    spin(lambda: asked(site, "/v1/plugins") == 200)


def test_a_proxys_connections_are_its_clients(make_site: MakeSite) -> None:
    """It may have as many as there are, and what it says of its clients is believed."""
    site = make_site(
        keys=True, connections_per_client=2, trusted_proxies=["127.0.0.0/30"], keyless_per_minute=5
    )
    with held(site, 6):
        for _ in range(5):
            detail_of(
                site.get("/v1/plugins", **{"X-Forwarded-For": "10.0.0.1"}), 401, "Unauthorized"
            )
        detail_of(site.get("/v1/plugins", **{"X-Forwarded-For": "10.0.0.1"}), 429, "RateLimited")
        detail_of(site.get("/v1/plugins", **{"X-Forwarded-For": "10.0.0.2"}), 401, "Unauthorized")
    assert {line["client"] for line in site.audited()} == {"10.0.0.1", "10.0.0.2"}


def test_who_is_no_trusted_proxy_says_nothing_of_clients(make_site: MakeSite) -> None:
    """Or every client would have as many addresses as it likes."""
    site = make_site(keys=True, keyless_per_minute=2)
    for number, status in enumerate((401, 401, 429)):
        forwarded = {"X-Forwarded-For": f"10.0.0.{number}"}
        assert site.get("/v1/plugins", **forwarded).status_code == status


def test_guessing_keys_is_slow_and_a_known_key_is_not_held_up(make_site: MakeSite) -> None:
    """429 with when to come again; who has a key shares an address with whom it may."""
    site = make_site(keys=True, keyless_per_minute=3)
    assert site.doors.keys is not None
    _, key = site.doors.keys.create("me", per_minute=600)
    for _ in range(3):
        detail_of(site.get("/v1/plugins", **{"X-API-Key": "guess"}), 401, "Unauthorized")
    for headers in ({"X-API-Key": "guess"}, {}):
        answer = site.get("/v1/plugins", **headers)
        detail = detail_of(answer, 429, "RateLimited")
        assert detail["details"]["retryable"] is True
        assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert site.get("/v1/plugins", **{"X-API-Key": key}).status_code == 200


def test_refusals_are_told_in_sums(make_site: MakeSite, caplog: pytest.LogCaptureFixture) -> None:
    """Some by themselves, the rest in one line of each log, with their number."""
    site = make_site(keys=True)
    number = 3 * TOLD
    with caplog.at_level(logging.INFO, "toolrunner.http"):
        for _ in range(number):
            assert site.get("/v1/plugins").status_code == 401
        spin(lambda: len(site.audited()) == TOLD)
        site.doors.clients.sum_up()
    lines = [record.getMessage() for record in caplog.records if record.name == "toolrunner.http"]
    assert len(lines) == TOLD + 1
    assert (
        lines[-1]
        == f"{number - TOLD} more requests of 127.0.0.1 in 60 s: refused with 401 (no key)"
    )
    audited = site.audited()
    assert len(audited) == TOLD + 1
    assert {key: audited[-1][key] for key in ("client", "outcome", "requests")} == {
        "client": "127.0.0.1",
        "outcome": "refused with 401 (no key)",
        "requests": number - TOLD,
    }


def test_what_is_no_http_fills_no_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Its connections are told in sums as well."""
    with caplog.at_level(logging.INFO, "toolrunner.http"):
        for _ in range(2 * TOLD):
            with socket.create_connection(site.address[:2]) as client:
                client.sendall(b"\x00\r\n\r\n")
                assert b" 400 " in read_all(client)
        site.doors.clients.sum_up()
    lines = [record.getMessage() for record in caplog.records if record.name == "toolrunner.http"]
    assert len(lines) == TOLD + 1
    assert lines[-1].startswith(f"{TOLD} more requests of 127.0.0.1 in 60 s: ")


def test_there_are_no_more_clients_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has many addresses fills no memory, and no log either."""
    monkeypatch.setattr(toolrunner.api.http.clients, "_MOST_CLIENTS", 10)
    clients = Clients(connections=1, keyless_per_minute=1, trusted=())

    async def refused() -> int:
        told = sum(clients.is_told(f"10.0.0.{number}", "refused") for number in range(200))
        clients.sum_up()
        return told

    assert asyncio.run(refused()) == 10 + TOLD
    addresses = [f"10.0.0.{number}" for number in range(11)]
    assert [clients.take(one) > 0 for one in addresses] == [False] * 11
    # Who has been quiet for longest is forgotten; the others are known.
    assert [clients.take(one) > 0 for one in addresses[:0:-1]] == [True] * 10
    assert clients.take(addresses[0]) == 0


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("junk", "junk"),
    ],
)
def test_a_client_is_an_address_or_a_network(address: str, client: str) -> None:
    """One customer has 2**64 addresses of IPv6."""
    assert client_of(address) == client
