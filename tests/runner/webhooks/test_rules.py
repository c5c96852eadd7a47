"""Which addresses may be posted to, when again, and what messages are signed with."""

from __future__ import annotations

import base64
import json
import stat
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from toolrunner.runner.settings.settings import Settings, SettingsError
from toolrunner.runner.webhooks import addresses, schedule
from toolrunner.runner.webhooks.message import headers
from toolrunner.runner.webhooks.secret_file import FILE, SecretFile

URL = "https://receiver.example/"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "https://example.org:8443/a/b?c=d",
        "http://localhost:8000/",
        "http://127.9.9.9/",
        "http://[::1]:80/x",
    ],
)
def test_addresses_that_can_be_posted_to(url: str) -> None:
    """Encrypted, or to this host alone."""
    assert addresses.check(url) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.org/", "must begin with https"),
        ("http://127.0.0.1.example.org/", "must begin with https"),
        ("http://0.0.0.0/", "must begin with https"),
        ("ftp://example.org/", "must be an address"),
        ("example.org/jobs", "must be an address"),
        ("https:///jobs", "must be an address"),
        ("https://me:secret@example.org/", "must not hold a user"),
        ("https://example.org/#part", "no fragment"),
        ("https://example.org/a b", "printable ASCII"),
        ("https://example.org/\r\nX: y", "printable ASCII"),
        ("https://bücher.example/", "printable ASCII"),
        ("https://example.org:port/", "Port could not be cast"),
        ("https://[::1/", "Invalid IPv6"),
        (f"https://{'a' * 64}.example/", "label"),
        ("https://example.org/" + "a" * 2000, "printable ASCII"),
    ],
)
def test_addresses_that_cannot(url: str, why: str) -> None:
    """Each says what to write instead."""
    with pytest.raises(ValueError, match=why):
        addresses.check(url)


def test_the_settings_say_which_address_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """With where it stands. The environment separates them by commas."""
    monkeypatch.setenv("TOOLRUNNER_WEBHOOKS", f"{URL},http://localhost:1/")
    assert Settings.load().webhooks == (URL, "http://localhost:1/")
    for value, words in {
        f"{URL},http://example.org": "must begin with https://",
        f"{URL},{URL}": "must name each address once",
        ",".join(f"{URL}{n}" for n in range(17)): "must have at most 16 entries",
    }.items():
        monkeypatch.setenv("TOOLRUNNER_WEBHOOKS", value)
        with pytest.raises(SettingsError, match=f"TOOLRUNNER_WEBHOOKS.*{words}"):
            Settings.load()


def test_the_schedule_is_the_specifications() -> None:
    """Ten attempts over three days, each a little later than that; a receiver may ask for more."""
    waits = [schedule.next_delay(attempt, 0.0) for attempt in range(1, 11)]
    assert waits.pop() is None
    for wait, planned in zip(waits, schedule.DELAYS_SECONDS, strict=True):
        assert wait is not None
        assert planned <= wait <= planned * 1.1
    assert schedule.next_delay(1, 900.0) == 900.0
    assert schedule.next_delay(10, 900.0) is None
    assert 3 * 86_400 < sum(schedule.DELAYS_SECONDS) < schedule.MOST_SECONDS


def test_an_address_rests_the_longer_the_oftener_it_fails() -> None:
    """Up to a bound, and as long as it asks for."""
    assert [schedule.rest(n, 0.0) for n in (1, 2, 3, 10, 10_000)] == [5, 10, 20, 300, 300]
    assert schedule.rest(1, 1_000.0) == 1_000.0


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        (None, 0, 0),
        ("120", 120, 120),
        (" 7 ", 7, 7),
        ("99999999999999999999", 86_400, 86_400),
        (format_datetime(datetime.now(UTC) + timedelta(days=400)), 86_400, 86_400),
        (format_datetime(datetime.now(UTC) - timedelta(days=1)), 0, 0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0, 0),
        ("soon", 0, 0),
        ("-5", 0, 0),
        ("", 0, 0),
    ],
)
def test_what_a_receiver_asks_for(header: str | None, least: float, most: float) -> None:
    """Seconds or a date, and nothing that would be for ever."""
    assert least <= schedule.asked_seconds(header) <= most


def test_each_address_has_a_secret_of_its_own(tmp_path: Path) -> None:
    """Made once, of 32 bytes, for the owner's eyes, whoever asks first."""
    found: set[tuple[str, ...]] = set()
    together = threading.Barrier(8)

    def ask() -> None:
        together.wait()
        found.add(SecretFile(tmp_path).of(URL))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [(secret,)] = found
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert SecretFile(tmp_path).of(f"{URL}other") != (secret,)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_a_secret_is_replaced_without_a_gap(tmp_path: Path) -> None:
    """The last one goes on signing beside it, until it is said to be over."""
    secrets = SecretFile(tmp_path)
    [old] = secrets.of(URL)
    new, *others = secrets.replace(URL)
    assert others == [old]
    signed = headers("msg_1", b"{}", secrets.of(URL))
    for secret in (old, new):
        assert Webhook(secret).verify(b"{}", signed) == {}
    assert secrets.forget_old(URL) == (new,)
    given = "whsec_" + base64.b64encode(b"x" * 24).decode()
    assert secrets.replace(URL, given) == (given, new)
    assert secrets.replace(URL, given) == (given, new)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!", "c2VjcmV0" * 6, "whsec_" + "YWFh" * 40]
)
def test_a_secret_that_is_none_is_refused(tmp_path: Path, secret: str) -> None:
    """24 to 64 bytes, in base64, behind what tells it from others."""
    with pytest.raises(ValueError, match="a secret is whsec_ and 24 to 64 bytes in base64"):
        SecretFile(tmp_path).replace(URL, secret)


@pytest.mark.parametrize("text", ["", "[]", "null", '{"a": 1}', '{"a": ["b"]}', "\xff"])
def test_a_broken_file_of_secrets_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    """It says what to do: a new secret that no receiver knows would be worse."""
    (tmp_path / FILE).write_text(text, "latin-1")
    with pytest.raises(OSError, match=r"webhook-secrets\.json is not what toolrunner has written"):
        SecretFile(tmp_path).of(URL)
    assert (tmp_path / FILE).read_text("latin-1") == text


def test_the_file_is_one_that_can_be_copied(tmp_path: Path) -> None:
    """From one state folder to the next."""
    secret = SecretFile(tmp_path).of(URL)
    assert json.loads((tmp_path / FILE).read_bytes()) == {URL: list(secret)}


def test_secrets_that_are_lost_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A receiver that knows the old one refuses all messages; the first one is no loss."""
    first = SecretFile(tmp_path).of(URL)
    SecretFile(tmp_path).of(f"{URL}other")
    assert caplog.records == []
    (tmp_path / FILE).unlink()
    assert SecretFile(tmp_path).of(f"{URL}?token=x") != first
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert f"{tmp_path / FILE} was not there any more, and {URL} has a new secret" in record.message
    assert "token" not in record.message
    SecretFile(tmp_path).of(URL)
    assert len(caplog.records) == 1
