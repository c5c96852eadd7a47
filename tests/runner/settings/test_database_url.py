"""The address of a database: what it shows, what it refuses, and that no password is anywhere."""

from __future__ import annotations

import pytest

from toolrunner.runner.settings.changes import changes
from toolrunner.runner.settings.database_url import DatabaseUrl
from toolrunner.runner.settings.settings import Settings, SettingsError

SECRET = "pa%2Fss"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("", ""),
        ("postgresql://host/jobs", "postgresql://host/jobs"),
        ("postgresql://me@host:5433/jobs", "postgresql://me@host:5433/jobs"),
        (f"postgres://me:{SECRET}@host/jobs", "postgres://me:***@host/jobs"),
        (
            f"postgresql://me:{SECRET}@a:1,[::1]:2/jobs?target_session_attrs=read-write",
            "postgresql://me:***@a:1,[::1]:2/jobs?target_session_attrs=read-write",
        ),
        (
            f"postgresql:///jobs?host=/run/pg&password={SECRET}&sslpassword={SECRET}",
            "postgresql:///jobs?host=/run/pg&password=***&sslpassword=***",
        ),
        (  # libpq decodes the name
            f"postgresql:///jobs?host=/run/pg&passw%6frd={SECRET}",
            "postgresql:///jobs?host=/run/pg&passw%6frd=***",
        ),
    ],
)
def test_it_is_shown_without_its_passwords(given: str, shown: str) -> None:
    """As text, in a representation, and in what a library says of it."""
    url = DatabaseUrl.parse(given)
    assert str(url) == shown
    assert SECRET not in repr(url)
    assert url.secret == given
    assert bool(url) is bool(given)
    said = url.harmless(f"no {SECRET} and no pa/ss")
    assert (SECRET in said) is (SECRET not in given)


@pytest.mark.parametrize(
    "given",
    [
        "mysql://me:secret@host/jobs",
        "postgresql://me:se@cret@host/jobs",
        "postgresql://me:se/cret@host/jobs",
        "postgresql://me:se?cret@host/jobs",
        "postgresql://me:se#cret@host/jobs",
        "postgresql://me:secret",
        "postgresql://me:secret@host/jobs\n",
        7,
    ],
)
def test_what_could_be_shown_is_refused(given: object) -> None:
    """A password that would be read as another part; and what is wrong repeats nothing of it."""
    with pytest.raises(SettingsError) as caught:
        Settings.load(jobs=given, blobs="file:///srv/blobs")
    assert "cret" not in str(caught.value)
    assert "jobs: must" in str(caught.value)


@pytest.mark.parametrize("hosts", ["host:abc", "a:1,b:5x", "[fe80::abcd]:x1"])
def test_a_port_is_a_number(hosts: str) -> None:
    """What is said names the port, and not characters alone; a host may have letters."""
    with pytest.raises(SettingsError, match="jobs: must have a number for its port"):
        Settings.load(jobs=f"postgresql://{hosts}/jobs", blobs="file:///srv/blobs")
    assert DatabaseUrl.parse("postgresql://[fe80::abcd]:5432/jobs")


def test_no_setting_shows_it() -> None:
    """Neither all of them as text, nor as JSON, nor what a reload says of a change."""
    settings = Settings.load(jobs="postgresql://me:secret@host/jobs", blobs="file:///srv/blobs")
    assert "secret" not in repr(settings) + str(settings) + settings.model_dump_json()
    told = [str(one) for one in changes(Settings(), settings)]
    assert any(one.startswith('jobs = "postgresql://me:***@host/jobs"') for one in told)
    assert "secret" not in "".join(told)


def test_blobs_may_be_in_any_place_and_without_jobs() -> None:
    """What several machines share may be in a bucket; what one has, elsewhere too."""
    place = "s3://bucket/prefix"
    assert Settings.load(jobs="postgresql://host/jobs", blobs=place).blobs == place
    assert not Settings.load(blobs=place).jobs


def test_what_does_not_go_together_is_refused() -> None:
    """By name, with what to do."""
    with pytest.raises(SettingsError, match="argument: jobs: needs `blobs`"):
        Settings.load(jobs="postgresql://host/jobs")
