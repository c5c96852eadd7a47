"""What uv has resolved, as text: one version of each distribution, with the hashes of its files.

Made by ``resolve``; the digest of an environment is made of it. Pure: reads and runs nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from toolrunner.runner.environments.pythons import Python
from toolrunner.runner.environments.store import this_platform
from toolrunner.runner.environments.wish import normalised

_HASH = re.compile(r"--hash[= ]([a-z0-9]+:[0-9a-fA-F]+)")
_COMMENT = re.compile(r"(^|\s)#.*$")


class PinError(ValueError):
    """A text is not what uv writes, or what this reads of it."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One distribution, of one version, and the hashes that its file may have."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name, normalised."""
        return canonicalize_name(self.requirement.name)

    @property
    def text(self) -> str:
        """The line that says it, always the same."""
        return " ".join([normalised(str(self.requirement)), *sorted(self.hashes)])

    @property
    def version(self) -> str | None:
        """The one version that it may have; ``None`` where a URL decides."""
        exact = [one.version for one in self.requirement.specifier if one.operator == "=="]
        return exact[0] if exact else None


def parse_pins(text: str) -> tuple[Pin, ...]:
    """Return what a requirements file pins; ``PinError`` for options, and what is not pinned."""
    pins = []
    for line in _logical_lines(text):
        if line.startswith("-"):
            message = f"an option, {line[:60]!r}"
            raise PinError(message)
        hashes = tuple(_HASH.findall(line))
        try:
            requirement = Requirement(_HASH.sub("", line).strip())
        except InvalidRequirement:
            message = f"{line[:60]!r}"
            raise PinError(message) from None
        pin = Pin(requirement, hashes)
        if pin.version is None and requirement.url is None:
            message = f"{requirement} has no one version"
            raise PinError(message)
        pins.append(pin)
    return tuple(pins)


def _logical_lines(text: str) -> Iterator[str]:
    whole = ""
    for line in text.splitlines():
        part = _COMMENT.sub("", line).strip()
        if part.endswith("\\"):
            whole += part[:-1] + " "
            continue
        whole = (whole + part).strip()
        if whole:
            yield whole
        whole = ""
    if whole.strip():
        yield whole.strip()


def all_hashed(pins: Iterable[Pin]) -> bool:
    """Tell whether each file is known by its hash."""
    return all(pin.hashes for pin in pins)


def digest_of(pins: Iterable[Pin], python: Python, *, builder: str = "") -> str:
    """Return the name of the environment that these make.

    ``builder``: the key of the wish whose builds may run. What a build script says it has made is
    worth nothing, so nobody else's environment may have that name.
    """
    parts = {
        "pins": sorted(pin.text for pin in pins),
        "python": [python.implementation, python.version, python.abi],
        "platform": this_platform(),
        "builder": builder,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def unanswered(pins: Iterable[Pin], dependencies: Iterable[str], python: Python) -> str:
    """Return which of a plugin's dependencies the pins do not meet; nothing if they meet all."""
    environment = {"python_version": python.short, "python_full_version": python.version}
    pinned = {pin.name: pin for pin in pins if _applies(pin.requirement, environment)}
    for text in dependencies:
        wanted = Requirement(text)
        if not _applies(wanted, environment):
            continue
        pin = pinned.get(canonicalize_name(wanted.name))
        if pin is None:
            return f"{wanted.name} is not in it"
        if pin.version is not None and not _meets(pin.version, wanted):
            return f"{wanted.name} is {pin.version} in it, not {wanted.specifier}"
    return ""


def _applies(requirement: Requirement, environment: dict[str, str]) -> bool:
    if requirement.marker is None:
        return True
    try:
        return requirement.marker.evaluate(environment)
    except (UndefinedComparison, UndefinedEnvironmentName, ValueError):
        return True


def _meets(version: str, wanted: Requirement) -> bool:
    try:
        return wanted.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False
