"""What stands in ``blobs``: where payloads, results and artifacts lie, if not in the state folder.

A place never holds a key: who may read it is what the environment says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_OPTIONS = ("endpoint", "region")
_EXAMPLES = "s3://bucket/prefix, or file:///srv/toolrunner-blobs"
_WHERE_KEYS_GO = "the key goes into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A folder that all have, who use the same jobs."""

    folder: Path


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """A part of a bucket. What is "" is the environment's to say."""

    bucket: str
    prefix: str
    endpoint: str = ""
    region: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def check(text: str) -> str:
    """Return what may stand in ``blobs``; raises ValueError, with what to write instead."""
    place_of(text)
    return text


def place_of(text: str) -> FolderPlace | BucketPlace | None:
    """Return the place that is named, ``None`` for the state folder; raises ValueError."""
    if not text:
        return None
    if not text.isprintable():
        message = f"must be printable, such as {_EXAMPLES}"
        raise ValueError(message)
    scheme = text.partition(":")[0]
    try:
        parts = urlsplit(text)
    except ValueError:  # which repeats what stands there
        scheme = ""
    if scheme == "file":
        return _folder(parts)
    if scheme == "s3":
        return _bucket(parts)
    message = f'must be {_EXAMPLES}; "" for the state folder'
    raise ValueError(message)


def check_endpoint(url: str) -> str:
    """Return the address of a server that speaks S3; raises ValueError."""
    try:
        parts = urlsplit(url)
        is_plain = url.isascii() and url.isprintable() and " " not in url and parts.port != 0
    except ValueError:  # which repeats what stands there
        is_plain = False
    if not is_plain or parts.scheme not in {"http", "https"} or not parts.hostname:
        message = "must name its endpoint by a URL, such as https://s3.example.org:9000"
        raise ValueError(message)
    if parts.query or parts.fragment:
        message = "must name its endpoint by a URL without ? and #"
        raise ValueError(message)
    if parts.username is not None:
        message = f"must not hold a user or a password; {_WHERE_KEYS_GO}"
        raise ValueError(message)
    return url.rstrip("/")


def endpoint_of(place: BucketPlace, environment: Mapping[str, str]) -> str:
    """Return where a bucket's server is; "" for Amazon's own. Raises ValueError."""
    if place.endpoint:
        return place.endpoint
    for name in _ENDPOINTS:
        if environment.get(name):
            try:
                return check_endpoint(environment[name])
            except ValueError as error:
                message = f"{name} {error}"
                raise ValueError(message) from None
    return ""


def _folder(parts: SplitResult) -> FolderPlace:
    path = Path(unquote(parts.path))
    is_plain = not (parts.netloc or parts.query or parts.fragment) and str(path).isprintable()
    if not is_plain or not path.is_absolute() or path == Path("/") or ".." in path.parts:
        message = "must name an absolute folder, such as file:///srv/toolrunner-blobs"
        raise ValueError(message)
    return FolderPlace(path)


def _bucket(parts: SplitResult) -> BucketPlace:
    if "@" in parts.netloc:
        message = f"must not hold a user or a password; {_WHERE_KEYS_GO}"
        raise ValueError(message)
    prefix = parts.path.strip("/")
    steps = prefix.split("/")
    is_path = not prefix or (_PREFIX.fullmatch(prefix) and not {".", ".."} & set(steps))
    if not _BUCKET.fullmatch(parts.netloc) or not is_path or parts.fragment:
        message = "must name a bucket and a prefix of plain names in it, such as s3://bucket/prefix"
        raise ValueError(message)
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _OPTIONS:
            # Nothing of what stands there is repeated: it may be a secret in the wrong place.
            message = (
                f"may say endpoint and region behind its ?, and nothing else; {_WHERE_KEYS_GO}"
            )
            raise ValueError(message)
        options[name] = value
    if "endpoint" in options:
        options["endpoint"] = check_endpoint(options["endpoint"])
    return BucketPlace(parts.netloc, prefix, **options)
