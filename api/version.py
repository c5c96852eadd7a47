"""Which version of the project this is, for whoever shows it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

DISTRIBUTION = "toolrunner-sandbox"


def version() -> str | None:
    """Return the installed version; ``None`` for a source tree that is not installed."""
    try:
        return version_of(DISTRIBUTION)
    except PackageNotFoundError:
        return None
