"""What may stand in ``blobs``, and what a bucket's errors are told as."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from toolrunner.runner.jobs.blob_choice import check_usable
from toolrunner.runner.jobs.blob_places import BucketPlace, FolderPlace, place_of
from toolrunner.runner.jobs.blobs import AwayError, RefusedError
from toolrunner.runner.jobs.s3_errors import BeyondEndError, told
from toolrunner.runner.settings.settings import Settings, SettingsError

WHERE = "s3://bucket/prefix"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", None),
        ("file:///srv/blobs", FolderPlace(Path("/srv/blobs"))),
        ("file:///srv/my%20blobs/", FolderPlace(Path("/srv/my blobs"))),
        ("s3://bucket", BucketPlace("bucket", "")),
        ("s3://bucket/a/b.c/", BucketPlace("bucket", "a/b.c")),
        (
            "s3://bucket/a?endpoint=https://s3.example.org:9000/&region=eu-west-1",
            BucketPlace("bucket", "a", "https://s3.example.org:9000", "eu-west-1"),
        ),
    ],
)
def test_a_place_is_what_it_says(text: str, place: object) -> None:
    """And is shown as it was written."""
    assert place_of(text) == place
    assert Settings(blobs=text).blobs == text


SECRET = "top-secret"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ftp://bucket/prefix", "must be s3://bucket/prefix, or file:///srv/toolrunner-blobs"),
        ("/srv/blobs", "must be s3://bucket/prefix, or file:///srv/toolrunner-blobs"),
        ("s3:", "must name a bucket and a prefix of plain names in it"),
        ("s3://b/prefix", "must name a bucket and a prefix of plain names in it"),
        ("s3://bucket/../other", "must name a bucket and a prefix of plain names in it"),
        ("s3://bucket/a//b", "must name a bucket and a prefix of plain names in it"),
        ("s3://bucket/a#b", "must name a bucket and a prefix of plain names in it"),
        ("file://srv/blobs", "must name an absolute folder, such as file:///srv/toolrunner-blobs"),
        ("file:blobs", "must name an absolute folder"),
        ("file:///", "must name an absolute folder"),
        ("file:///srv/../etc", "must name an absolute folder"),
        ("file:///srv/blobs?region=x", "must name an absolute folder"),
        ("file:///srv/%00", "must name an absolute folder"),
        ("s3://bucket/a\n", "must be printable"),
        (f"s3://me:{SECRET}@bucket/a", "the key goes into AWS_ACCESS_KEY_ID"),
        (f"s3://bucket/a?secret_access_key={SECRET}", "the key goes into AWS_ACCESS_KEY_ID"),
        (f"s3://bucket/a?{SECRET}", "may say endpoint and region behind its [?]"),
        ("s3://bucket/a?endpoint=minio:9000", "must name its endpoint by a URL, such as https://"),
        (f"s3://bucket/a?endpoint=http://me:{SECRET}@minio", "the key goes into AWS_ACCESS_KEY"),
        (f"s3://bucket/a?endpoint=http://me:{SECRET}", "must name its endpoint by a URL"),
        ("s3://[bucket/a", "must be s3://bucket/prefix"),
        ("s3://bucket/a?endpoint=http://minio/?a=b", "without [?] and #"),
    ],
)
def test_what_is_no_place_is_refused(
    text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In words that say what to write, and repeat nothing that may be a secret."""
    monkeypatch.setenv("TOOLRUNNER_BLOBS", text)
    with pytest.raises(SettingsError, match=words) as caught:
        Settings.load()
    assert "environment TOOLRUNNER_BLOBS: blobs: " in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])
def test_an_endpoint_of_the_environment_is_looked_at(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is none is told by its name; who names one himself is not asked for it."""
    monkeypatch.setenv(name, "minio:9000")
    with pytest.raises(ValueError, match=f"{name} must name its endpoint by a URL"):
        check_usable("s3://bucket/prefix")
    check_usable("s3://bucket/prefix?endpoint=http://minio:9000")


def error(status: int, code: str = "", more: str = "") -> Exception:
    """Return an error as the library makes it."""
    body = f"<Error><Code>{code}</Code>{more}</Error>" if code else ""
    return Exception(
        f"Generic S3 error: Error performing GET http://minio/bucket/a in 4ms - Server returned"
        f" non-2xx status code: {status} Somehow: {body}\n\nDebug source:\n{SECRET}"
    )


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "AccessDenied", "it refuses (HTTP 403 AccessDenied): let this key list, get, put"),
        (403, "InvalidAccessKeyId", "it does not know the key (HTTP 403 InvalidAccessKeyId)"),
        (403, "SignatureDoesNotMatch", "mend AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (404, "NoSuchBucket", "the bucket is not there: make it, or name another"),
        (301, "PermanentRedirect", "it is in another region (HTTP 301 PermanentRedirect)"),
        (400, "AuthorizationHeaderMalformed", "say which by ?region=… or AWS_REGION"),
        (405, "MethodNotAllowed", "it refuses (HTTP 405 MethodNotAllowed)"),
        (507, "XMinioStorageFull", "is full (HTTP 507 XMinioStorageFull); make room there"),
        (403, "QuotaExceeded", "is full (HTTP 403 QuotaExceeded); make room there"),
    ],
)
def test_what_is_refused_says_what_to_do(status: int, code: str, words: str) -> None:
    """Nobody waits for it; nothing of a request is repeated."""
    found = told(error(status, code), "payloads/a", WHERE)
    assert isinstance(found, RefusedError)
    assert words in str(found)
    assert str(found).startswith(WHERE)
    assert SECRET not in str(found)
    assert (found.errno == errno.ENOSPC) == ("full" in words)


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "InternalError"), (503, "SlowDown"), (429, ""), (404, ""), (502, "")],
)
def test_what_may_pass_is_waited_for(status: int, code: str) -> None:
    """Also a 404 that no bucket has said: a blob that is there must not be taken for gone."""
    found = told(error(status, code), "payloads/a", WHERE)
    assert isinstance(found, AwayError)
    what = f"HTTP {status} {code}".rstrip()
    assert str(found).startswith(f"{WHERE} cannot be used now ({what}): start it")
    nobody = told(Exception("Generic S3 error: HTTP error: error sending request"), "a", WHERE)
    assert f"{WHERE} cannot be used now (no answer)" in str(nobody)


def test_what_is_an_answer_is_no_trouble() -> None:
    """A blob that is not there, a range beyond its end, a host without any key."""
    assert isinstance(told(error(404, "NoSuchKey"), "a", WHERE), FileNotFoundError)
    beyond = error(416, "InvalidRange", "<ActualObjectSize>7</ActualObjectSize>")
    found = told(beyond, "a", WHERE)
    assert isinstance(found, BeyondEndError)
    assert found.size_bytes == 7
    without = Exception(
        "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 1ms"
    )
    assert "there is no key: set AWS_ACCESS_KEY_ID" in str(told(without, "a", WHERE))
