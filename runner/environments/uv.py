"""uv itself, and what the operator has told it: the one program that makes environments.

Asked by ``workshop``. Nothing of the operator's environment reaches a build but what stands here.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from toolrunner.runner.errors import ErrorType, GovernedError

# What is passed on: where packages are, how to get there, and which ones count.
_NAMES = frozenset(
    {
        "UV_CONCURRENT_DOWNLOADS",
        "UV_DEFAULT_INDEX",
        "UV_EXCLUDE_NEWER",
        "UV_EXTRA_INDEX_URL",
        "UV_FIND_LINKS",
        "UV_FORK_STRATEGY",
        "UV_HTTP_CONNECT_TIMEOUT",
        "UV_HTTP_RETRIES",
        "UV_HTTP_TIMEOUT",
        "UV_INDEX",
        "UV_INDEX_STRATEGY",
        "UV_INDEX_URL",
        "UV_INSECURE_HOST",
        "UV_NATIVE_TLS",
        "UV_NO_INDEX",
        "UV_PRERELEASE",
        "UV_REQUEST_TIMEOUT",
        "UV_RESOLUTION",
        "UV_SYSTEM_CERTS",
        "UV_TORCH_BACKEND",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "SSL_CLIENT_CERT",
        "ALL_PROXY",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "all_proxy",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    }
)
_INDEXES = frozenset({"UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX", "UV_INDEX_URL"})
_NAMED = re.compile(r"[\w.-]+=")
_PREFIXES = ("UV_INDEX_",)  # the names and passwords of indexes that have a name
_CONFIG = "uv.toml"
_MISSING = (
    "uv, which installs what plugins need, is not here; get it with: "
    'pip install "toolrunner-sandbox[environments]", or in a clone: pip install ".[environments]"'
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the operator has told uv: variables, the text of a file, and local paths in either."""

    variables: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    paths: tuple[str, ...] = ()


def find_uv() -> str:
    """Return the path of uv's program; ``GovernedError`` if it is not installed."""
    try:
        import uv  # noqa: PLC0415 - an extra, which may not be there
    except ImportError:
        raise GovernedError(ErrorType.SANDBOX_ERROR, _MISSING) from None
    try:
        return os.path.realpath(uv.find_uv_bin())
    except FileNotFoundError:
        raise GovernedError(ErrorType.SANDBOX_ERROR, _MISSING) from None


def configuration(environ: Mapping[str, str] = os.environ) -> Configuration:
    """Return what the operator has told uv, by variables and by its file.

    Of files, the first counts: ``UV_CONFIG_FILE``, the user's, the system's.
    """
    variables = {
        name: value
        for name, value in environ.items()
        if value and (name in _NAMES or name.startswith(_PREFIXES))
    }
    _check_indexes(variables)
    text = _file(environ)
    told = [*variables.values(), *_strings(_parsed(text))]
    return Configuration(variables, text, tuple(dict.fromkeys(_local(told))))


def _check_indexes(variables: Mapping[str, str]) -> None:
    """Refuse an index that is none; uv would look in an empty one, and blame the dependencies."""
    for name in _INDEXES & variables.keys():
        for word in variables[name].split():
            place = word.partition("=")[2] if _NAMED.match(word) else word
            if "://" not in place and not place.startswith("/"):
                # What it is may hold a password: it is not quoted.
                message = f"{name} names what is neither a URL nor the path of a folder; correct it"
                raise GovernedError(ErrorType.SANDBOX_ERROR, message)


def _file(environ: Mapping[str, str]) -> str:
    if environ.get("UV_NO_CONFIG"):
        return ""
    own = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    named = environ.get("UV_CONFIG_FILE")
    places = [named] if named else [f"{own}/uv/{_CONFIG}", f"/etc/uv/{_CONFIG}"]
    for place in places:
        try:
            return Path(place).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            if named or not isinstance(error, FileNotFoundError):
                raise _unreadable(place, error, is_named=bool(named)) from None
    return ""


def _unreadable(
    place: str, error: OSError | UnicodeDecodeError, *, is_named: bool
) -> GovernedError:
    why = error.strerror if isinstance(error, OSError) else "it is no text"
    which = "UV_CONFIG_FILE names" if is_named else "uv is configured by"
    remedy = "correct or unset that variable" if is_named else "let this user read it, or set "
    remedy += "" if is_named else "UV_NO_CONFIG=1"
    message = f"{which} {place}, which cannot be read: {why}; {remedy}"
    return GovernedError(ErrorType.SANDBOX_ERROR, message)


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError:
        return {}  # uv itself says what is wrong with it


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _local(told: list[str]) -> Iterator[str]:
    """Yield the absolute paths, and those of file URLs, that are there."""
    for text in told:
        for word in (text, *text.replace(",", " ").split()):
            path = local_path(word)
            if path.startswith("/") and path != "/" and os.path.exists(path):  # noqa: PTH110
                yield os.path.realpath(path)
                yield path


def local_path(word: str) -> str:
    """Return the path that a word names, by itself, as a file URL, or as ``name=URL``."""
    _, _, url = word.rpartition("=")
    if url.startswith("file://"):
        return unquote(urlsplit(url).path)
    return word
