"""What a plugin requires: distributions, their versions, a Python."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from toolrunner.plugins.manifest import (
    Manifest,
)
from toolrunner.plugins.requirements import missing_requirements, unmet


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


ARCHIVE = {
    "url": "https://host/x-1.0-py3-none-any.whl",
    "archive_info": {"hashes": {"sha256": "ab"}},
}
GIT = {
    "url": "https://host/x.git",
    "vcs_info": {"vcs": "git", "requested_revision": "v1", "commit_id": "c0ffee"},
    "subdirectory": "python",
}


@pytest.mark.parametrize(
    ("origin", "url", "is_met"),
    [
        (None, ARCHIVE["url"], False),
        ({"url": "https://host/other-1.0.whl", "archive_info": {}}, ARCHIVE["url"], False),
        (ARCHIVE, ARCHIVE["url"], True),
        (ARCHIVE, "https://user:secret@host/x-1.0-py3-none-any.whl#sha256=ab", True),
        (ARCHIVE, f"{ARCHIVE['url']}#sha256=cd", False),
        (GIT, "git+https://host/x.git@v1#subdirectory=python", True),
        (GIT, "git+https://host/x.git@c0ffee#subdirectory=python", True),
        (GIT, "git+https://host/x.git@v2#subdirectory=python", False),
        (GIT, "git+https://host/x.git@v1", False),
        (GIT, "https://host/x.git", False),
        ({"url": "file:///srv/x", "dir_info": {"editable": True}}, "file:///srv/x", True),
        ([], ARCHIVE["url"], False),
    ],
)
def test_a_url_is_met_by_what_is_from_there_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: object, url: str, *, is_met: bool
) -> None:
    """Not by whatever has the same name."""
    info = tmp_path / "x_by_url-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: x-by-url\nVersion: 1.0\n")
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.syspath_prepend(tmp_path)
    manifest = Manifest(name="m", dependencies=(f"x-by-url @ {url}",))
    reason = missing_requirements(manifest)
    assert (reason is None) == is_met
    assert (unmet(manifest) is None) == is_met
    if reason is not None:
        assert reason.startswith(
            f"VersionConflict: x-by-url 1.0 from elsewhere is installed, not {url}; "
        )


def test_another_python_is_asked_for() -> None:
    """A plugin for another Python says so."""
    reason = missing_requirements(Manifest(name="m", requires_python=">=99")) or ""
    assert reason.startswith("RuntimeError: needs Python >=99 and this is 3.")
