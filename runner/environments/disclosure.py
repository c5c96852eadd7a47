"""How uv is told what may be a secret: so that no text of a plugin or a package can quote it.

uv puts the values of variables whose names are upper-case into URLs that name them, ``${NAME}``,
also into those of a plugin's dependencies and of packages' metadata. It gives the name and the
password of an index to whatever index has that name, also to one of a plugin's ``pyproject.toml``.
So indexes and their passwords stand in its command, or in its file, each in the URL that it is for;
proxies have the names that are not put into URLs.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

# The option that says the same as a variable, and what stands between two of its values.
_OPTIONS = {
    "UV_DEFAULT_INDEX": ("--default-index", r"\s+"),
    "UV_EXTRA_INDEX_URL": ("--extra-index-url", r"\s+"),
    "UV_FIND_LINKS": ("--find-links", r"[,\s]+"),
    "UV_INDEX": ("--index", r"\s+"),
    "UV_INDEX_URL": ("--index-url", r"\s+"),
}
_PROXIES = {"ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
_CREDENTIAL = re.compile(r"UV_INDEX_.+_(USERNAME|PASSWORD)")
_NAMED = re.compile(r"([A-Za-z0-9._-]+)=(.*)", re.DOTALL)


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return what may stand in uv's environment; of a proxy's two names the upper one counts."""
    kept = {
        name: value
        for name, value in variables.items()
        if name not in _OPTIONS and name not in _PROXIES and not _CREDENTIAL.fullmatch(name)
    }
    return kept | {name.lower(): variables[name] for name in _PROXIES & variables.keys()}


def arguments(variables: Mapping[str, str]) -> list[str]:
    """Return the indexes and folders that variables name as options, with their passwords."""
    found = []
    for name, (option, between) in _OPTIONS.items():
        for value in re.split(between, variables.get(name, "")):
            if value:
                named = _NAMED.fullmatch(value)
                whole = f"{named[1]}={_known(named[1], named[2], variables)}" if named else value
                found.append(f"{option}={whole}")
    return found


def file(text: str, variables: Mapping[str, str]) -> str:
    """Return the text of uv's file, with the passwords of its indexes in their URLs."""
    for index in _indexes(text):
        name, url = index.get("name"), index.get("url")
        if isinstance(name, str) and isinstance(url, str):
            known = _known(name, url, variables)
            for mark in ("'", '"'):
                text = text.replace(f"{mark}{url}{mark}", f"{mark}{known}{mark}")
    return text


def _indexes(text: str) -> Iterator[dict[str, Any]]:
    try:
        found = tomllib.loads(text).get("index")
    except ValueError:
        return  # uv itself says what is wrong with it
    yield from (one for one in found or () if isinstance(one, dict))


def _known(name: str, url: str, variables: Mapping[str, str]) -> str:
    """Return the URL of an index with the name and the password that variables have for it."""
    stem = "UV_INDEX_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
    user, word = variables.get(f"{stem}_USERNAME"), variables.get(f"{stem}_PASSWORD")
    parts = urlsplit(url)
    if (user is None and word is None) or parts.scheme not in {"http", "https"}:
        return url
    who = quote(user or "", safe="") + ("" if word is None else f":{quote(word, safe='')}")
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{who}@{place}"))
