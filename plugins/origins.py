"""Where an installed distribution is from, and whether calls of plugins can see it.

Called by ``requirements``. Reads what the installer has written down (PEP 610), and nothing else.
"""

import importlib.metadata
import json
import shlex
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from toolrunner.sandbox.interpreter import own_module_path

_KINDS_OF_VCS = ("git", "hg", "svn", "bzr")


@dataclass(frozen=True, slots=True)
class Hidden:
    """Why no box shows a distribution that the runner has; ``remedy``: a command."""

    words: str
    remedy: str


def hidden_from_boxes(name: str) -> Hidden | None:
    """Return why calls cannot import an installed distribution, ``None`` if they can.

    They see the interpreter's own folders of packages, and nothing that PYTHONPATH or a ``.pth``
    file leads to beside these.
    """
    shown = importlib.metadata.distributions(name=name, path=list(own_module_path()))
    distribution = next(iter(shown), None)
    if distribution is None:
        folder = importlib.metadata.distribution(name).locate_file("")
        return Hidden(
            f"lies in {folder}, which PYTHONPATH or a .pth file adds: no call of a plugin sees it",
            f"pip install --ignore-installed {shlex.quote(name)}",
        )
    found = _direct_url(distribution)
    try:
        if not found["dir_info"]["editable"]:
            return None
        path = unquote(urlsplit(str(found["url"])).path)
    except (KeyError, TypeError, ValueError):
        return None
    return Hidden(
        f"is installed as editable, from {path}, which calls of plugins do not see",
        f"pip install {shlex.quote(path)}",
    )


def _direct_url(distribution: importlib.metadata.Distribution) -> Any:  # noqa: ANN401 - parsed JSON
    try:
        return json.loads(distribution.read_text("direct_url.json") or "null")
    except (OSError, ValueError, RecursionError):
        return None


def is_from(name: str, url: str) -> bool:
    """Tell whether a distribution was installed from this very URL.

    What was installed from an index is not, whatever it is the same as.
    """
    try:
        found = _direct_url(importlib.metadata.distribution(name))
    except importlib.metadata.PackageNotFoundError:
        return False
    try:
        return isinstance(found, dict) and _is_same(found, url)
    except (AttributeError, TypeError, ValueError):
        return False


def _is_same(found: dict[str, Any], url: str) -> bool:
    wanted, fragment = _without_fragment(url)
    vcs, _, rest = wanted.partition("+")
    revision = ""
    if vcs in _KINDS_OF_VCS and rest:
        wanted, revision = _without_revision(rest)
    else:
        vcs = ""
    info = found.get("vcs_info") or {}
    if _plain(str(found["url"])) != _plain(wanted) or info.get("vcs", "") != vcs:
        return False
    if revision and revision not in {info.get("requested_revision"), info.get("commit_id")}:
        return False
    if not revision and info.get("requested_revision"):
        return False
    if fragment.get("subdirectory", "") != found.get("subdirectory", ""):
        return False
    return _has_hashes(found.get("archive_info") or {}, fragment)


def _without_fragment(url: str) -> tuple[str, dict[str, str]]:
    """Return a URL, and what its fragment says: a hash, or a folder below it."""
    before, _, fragment = url.partition("#")
    return before, {key: values[0] for key, values in parse_qs(fragment).items()}


def _without_revision(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    path, _, revision = parts.path.partition("@")
    return urlunsplit(parts._replace(path=path)), revision


def _plain(url: str) -> str:
    """Return a URL without a user and a password, which are not written down."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")


def _has_hashes(archive: dict[str, Any], fragment: dict[str, str]) -> bool:
    """Tell whether an archive is known to have the hashes that the fragment asks for."""
    known = dict(archive.get("hashes") or {})
    algorithm, _, value = str(archive.get("hash", "")).partition("=")
    if value:
        known.setdefault(algorithm, value)
    asked = {
        key: value for key, value in fragment.items() if key in {"md5", "sha1"} or "sha" in key
    }
    return all(known.get(key) == value for key, value in asked.items())
