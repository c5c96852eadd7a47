"""What uv's own words come to: two lines of reason, and what to do.

Called when a run of uv has failed. What it says may quote hostile packages: it is cut and made
harmless where envelopes are made.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from toolrunner.runner.environments.workshop import Output
from toolrunner.runner.errors import ErrorType, GovernedError, harmless

_MOST_CHARACTERS = 400
_MARKS = re.compile(r"^[\s\u2500-\u257f\u25b6\u00d7>|]*(?:error:|cause:|Caused by:)?\s*")
_BEGINS = re.compile(r"^\s*(?:error:|\u00d7)")
_OUTPUT = {"[stdout]", "[stderr]"}
_HINT = re.compile(r"^\s*hint:\s*")


@dataclass(frozen=True, slots=True)
class _Remedy:
    pattern: re.Pattern[str]
    words: str
    error_type: ErrorType = ErrorType.PLUGIN_UNAVAILABLE


def _remedy(
    pattern: str, words: str, error_type: ErrorType = ErrorType.PLUGIN_UNAVAILABLE
) -> _Remedy:
    return _Remedy(re.compile(pattern, re.IGNORECASE | re.MULTILINE), words, error_type)


_DISABLED = re.compile(r"network connectivity is disabled|network was disabled", re.IGNORECASE)
_OFFLINE = _remedy(
    r"(was|were) not found|no versions? of|only .* (is|are) available"
    r"|network connectivity is disabled|network was disabled",
    "without a network this host has not what it needs: install it once without --offline, or name "
    "a folder with its wheels: --find-links FOLDER",
    ErrorType.SANDBOX_ERROR,
)
_HASH = _remedy(
    r"hash mismatch|hash(es)? (do|does) not match",
    "the index has other files than were resolved or locked: ask why they differ",
)
_REMEDIES = (
    _remedy(
        r"^error: invalid value '|^error: failed to parse:? `?uv\.toml",
        "correct what uv has been told on this host: the variable of that name (UV_...), or its "
        "file (UV_CONFIG_FILE, ~/.config/uv/uv.toml, /etc/uv/uv.toml)",
        ErrorType.SANDBOX_ERROR,
    ),
    _remedy(
        r"no usable wheels|building source distributions is disabled|no wheels? (are|is) usable"
        r"|--no-build|no source distribution|only-binary|no wheels with a matching",
        "pin a version that has a wheel for this host, or let the package's build script run, in "
        "a box: --allow-builds",
    ),
    _HASH,
    _remedy(
        r"no space left",
        "make room where the state folder is, or choose another: --state DIR",
        ErrorType.SANDBOX_ERROR,
    ),
)
_ONLINE = (
    _remedy(
        r"error sending request|failed to fetch|dns error|connection (refused|reset)|timed? ?out"
        r"|tls|certificate|proxy",
        "see that this host reaches the index (UV_DEFAULT_INDEX, HTTPS_PROXY, SSL_CERT_FILE), or "
        "name a folder with wheels: --find-links FOLDER --offline",
        ErrorType.SANDBOX_ERROR,
    ),
    _remedy(
        r"not found in the package registry|no versions? of|there is no version|were not found",
        "correct the name or the version in its dependencies, or name the index that has it: "
        "UV_INDEX, or --find-links FOLDER",
    ),
)
_BUILD = _remedy(
    r"failed to build|build backend|build_wheel",
    "its build script has failed in the box: use a version that has a wheel, or build one "
    "yourself and name its folder: --find-links FOLDER",
)
_OTHERWISE = "correct its dependencies"


def failed(
    what: str, output: Output, *, offline: bool = False, lock_remedy: str = ""
) -> GovernedError:
    """Return the error for a run of uv that has failed: two lines of its own, and a remedy.

    ``offline``: it had no network. ``lock_remedy``: how to mend the lock that it was given.
    """
    first, second = _two_lines(output)
    flat = _flat(output.errors)
    is_offline = offline or _DISABLED.search(flat) is not None
    remedies = (*_REMEDIES, *((_OFFLINE,) if is_offline else _ONLINE), _BUILD)
    found = next((one for one in remedies if one.pattern.search(flat)), None)
    words = found.words if found else lock_remedy or _OTHERWISE
    if found is _HASH and lock_remedy:
        words = f"{words}; or {lock_remedy}"
    error_type = found.error_type if found else ErrorType.PLUGIN_UNAVAILABLE
    reason = "\n".join(filter(None, (f"{what}: {first}", second)))
    details = {"remedy": words, "operation": what, "errno": None, "uv": output.errors}
    return GovernedError(error_type, f"{reason}\n{words}", details)


def _two_lines(output: Output) -> tuple[str, str]:
    """Return the first of uv's words about its failure, and the rest of that sentence."""
    lines = harmless(output.errors).splitlines()
    start = next((i for i, line in enumerate(lines) if _BEGINS.match(line)), None)
    if start is None:
        return _ended(output.status), _cut(" ".join(lines[-1:]).strip())
    told = []
    for line in lines[start:]:
        if _HINT.match(line):
            break
        text = _MARKS.sub("", line).strip()
        if text:
            told.append(text)
    if _OUTPUT & set(told):
        told = [*told[:2], told[-1]]  # what a build has printed: its last line says most
    return _cut(told[0] if told else _ended(output.status)), _cut(" ".join(told[1:]))


def _flat(errors: str) -> str:
    """Return what uv said without the breaks by which it fits a sentence into a terminal."""
    return re.sub(r"\n(?!error:|hint:|warning:)[\s\u2502]*", " ", errors.strip())


def _ended(status: int) -> str:
    try:
        return f"it was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"it ended with status {status}"


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
