"""What a plugin requires: distributions, their versions, a Python."""

from __future__ import annotations

import re

import pytest

from toolrunner.plugins.manifest import (
    Manifest,
)
from toolrunner.plugins.requirements import missing_requirements


def test_requirements_that_are_met_give_no_reason() -> None:
    """What is installed is found under any spelling of its name, and a marker can rule one out."""
    manifest = Manifest(
        name="m",
        requires_python=">=3.11",
        dependencies=["NumPy>=2", "pydantic_settings", 'absent-thing; python_version < "3"'],  # type: ignore[arg-type]  # a list, as TOML gives it
    )
    assert missing_requirements(manifest) is None


@pytest.mark.parametrize(
    ("dependencies", "reason"),
    [
        (
            ("absent-thing>=3.4",),
            "absent-thing is not installed; install it with: pip install 'absent-thing>=3.4'",
        ),
        (
            ("numpy", "absent-thing[x]>=1 ; python_version > '3'", "other-absent"),
            (
                "absent-thing and other-absent are not installed; install them with: "
                "pip install 'absent-thing[x]>=1' other-absent"
            ),
        ),
    ],
)
def test_missing_distributions_are_named_with_one_command(
    dependencies: tuple[str, ...], reason: str
) -> None:
    """One command, safe to paste into a shell, installs all that is missing."""
    found = missing_requirements(Manifest(name="m", dependencies=dependencies))
    assert found == f"PackageNotFoundError: {reason}"


def test_a_wrong_version_is_named() -> None:
    """A distribution that is too old is not taken for a missing one."""
    reason = missing_requirements(Manifest(name="m", dependencies=("numpy>9999",))) or ""
    assert re.fullmatch(
        r"VersionConflict: numpy [\d.]+ is installed, not >9999; "
        r"install it with: pip install 'numpy>9999'",
        reason,
    )


def test_another_python_is_asked_for() -> None:
    """A plugin for another Python says so."""
    reason = missing_requirements(Manifest(name="m", requires_python=">=99")) or ""
    assert reason.startswith("RuntimeError: needs Python >=99 and this is 3.")
