"""What is told of a run of uv that has failed, of its own words as they were seen."""

from __future__ import annotations

import pytest

from toolrunner.runner.environments.reasons import failed
from toolrunner.runner.environments.workshop import Output
from toolrunner.runner.errors import ErrorType

NO_WHEEL = """
error: No solution found when resolving dependencies
  cause: Because only oldlib==1.0 is available and oldlib==1.0 has no usable wheels and building
source distributions is disabled, we can conclude that oldlib==1.0 cannot be used.
hint: Wheels are required for `oldlib` because building from source is disabled
"""
BUILD = """
   Building wild==1.0
error: Failed to build `wild==1.0`
  cause: The build backend returned an error
  cause: Call to `backend.build_wheel` failed (exit status: 1)

[stderr]
Traceback (most recent call last):
  File "<string>", line 11, in <module>
MemoryError

hint: This usually indicates a problem with the package or the build environment.
"""


@pytest.mark.parametrize(
    ("errors", "status", "first", "second", "remedy"),
    [
        (NO_WHEEL, 1, "No solution found", "no usable wheels", "--allow-builds"),
        (BUILD, 1, "Failed to build `wild==1.0`", "an error MemoryError", "--find-links FOLDER"),
        (
            "  \u00d7 Failed to\n  fetch it: dns error",
            2,
            "Failed to",
            "fetch it",
            "HTTPS_PROXY",
        ),
        ("Resolved 1 package", -9, "it was ended by SIGKILL", "Resolved 1 package", "dependencies"),
        ("", 3, "it ended with status 3", None, "dependencies"),
    ],
)
def test_two_lines_and_what_to_do(
    errors: str, status: int, first: str, second: str | None, remedy: str
) -> None:
    """The end of a build's output, not its beginning; marks of uv's own are left out."""
    error = failed("install", Output(status, "", errors))
    lines = error.message.splitlines()
    assert lines[0].startswith(f"install: {first}")
    if second is not None:
        assert second in lines[1]
        assert "\u00d7" not in lines[1]
    assert remedy in lines[-1]
    assert len(lines) <= 3
    assert error.details["remedy"] == lines[-1]
    is_hosts = error.error_type is ErrorType.SANDBOX_ERROR
    assert is_hosts == ("dns" in errors)


def test_what_is_told_is_cut_and_harmless() -> None:
    """A package can make uv say anything."""
    error = failed("install", Output(1, "", "error: \x1b[31m" + "x" * 100_000))
    assert len(error.message) < 1000
    assert "\x1b" not in error.message
