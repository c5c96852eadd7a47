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
    return _Remedy(re.compile(pattern, re.IGNORECASE), words, error_type)


_REMEDIES = (
    _remedy(
        r"network connectivity is disabled|network was disabled|not found in the cache",
        "install it once without --offline, or name a folder with its wheels: --find-links FOLDER",
    ),
    _remedy(
        r"no usable wheels|building source distributions is disabled|no wheels? (are|is) usable"
        r"|--no-build|no source distribution|only-binary|no wheels with a matching",
        "pin a version that has a wheel for this host, or let the package's build script run, in "
        "a box: --allow-builds",
    ),
    _remedy(
        r"hash mismatch",
        "the lock is for other files than the index has: make it anew with "
        "`toolrunner plugins lock PATH`, or ask why they differ",
    ),
    _remedy(
        r"error sending request|failed to fetch|dns error|connection (refused|reset)|timed? ?out"
        r"|tls|certificate|proxy",
        "see that this host reaches the index (UV_DEFAULT_INDEX, HTTPS_PROXY, SSL_CERT_FILE), or "
        "name a folder with wheels: --find-links FOLDER --offline",
        ErrorType.SANDBOX_ERROR,
    ),
    _remedy(
        r"no space left",
        "make room where the state folder is, or choose another: --state DIR",
        ErrorType.SANDBOX_ERROR,
    ),
    _remedy(
        r"not found in the package registry|no versions? of|there is no version|were not found",
        "correct the name or the version in its dependencies, or name the index that has it: "
        "UV_INDEX, or --find-links FOLDER",
    ),
    _remedy(
        r"failed to build|build backend|build_wheel",
        "its build script has failed in the box: use a version that has a wheel, or build one "
        "yourself and name its folder: --find-links FOLDER",
    ),
)
_OTHERWISE = "correct its dependencies"


def failed(what: str, output: Output) -> GovernedError:
    """Return the error for a run of uv that has failed: two lines of its own, and a remedy."""
    first, second = _two_lines(output)
    found = next((one for one in _REMEDIES if one.pattern.search(output.errors)), None)
    words = found.words if found else _OTHERWISE
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


def _ended(status: int) -> str:
    try:
        return f"it was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"it ended with status {status}"


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
