"""Which addresses may stand in ``webhooks``: https, and http to this very host alone.

Only the operator's settings name addresses; no request can.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from toolrunner.runner.hosts import is_loopback

MOST = 16
_MOST_CHARACTERS = 2_000


def check(url: str) -> str:
    """Return an address that can be posted to; raises ValueError, with what to write instead."""
    if len(url) > _MOST_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
        message = "must be printable ASCII without spaces; encode other characters as %xx"
        raise ValueError(message)
    parts = urlsplit(url)  # which raises ValueError for brackets that do not match
    _ = parts.port  # and this for a port that is none
    (parts.hostname or "").encode("idna")  # and this for a name that no resolver takes
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        message = "must be an address such as https://example.org/jobs"
        raise ValueError(message)
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        message = "must begin with https://; http:// is for this host's loopback alone"
        raise ValueError(message)
    if parts.username is not None:
        message = "must not hold a user or a password: the signature tells who sends"
        raise ValueError(message)
    if parts.fragment or url.endswith("#"):
        message = "must have no fragment: nothing behind # is ever sent"
        raise ValueError(message)
    return url


def told(url: str) -> str:
    """Return an address for the log, without its query: that may hold a secret."""
    return url.partition("?")[0]
