"""What a plugin requires: distributions, their versions, a Python."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from toolrunner.plugins.manifest import (
    Manifest,
)
from toolrunner.plugins.requirements import missing_requirements, unmet, unnamed


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


def write_distribution(site: Path, name: str, origin: object = None) -> None:
    """Write what an installer leaves of a distribution, without any code."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))


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
        ({"url": "file:///srv/x", "dir_info": {}}, "file:///srv/x", True),
        ([], ARCHIVE["url"], False),
    ],
)
def test_a_url_is_met_by_what_is_from_there_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: object, url: str, *, is_met: bool
) -> None:
    """Not by whatever has the same name."""
    write_distribution(tmp_path / "site-packages", "x-by-url", origin)
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    manifest = Manifest(name="m", dependencies=(f"x-by-url @ {url}",))
    reason = missing_requirements(manifest)
    assert (reason is None) == is_met
    assert (unmet(manifest) is None) == is_met
    if reason is not None:
        assert reason.startswith(
            f"VersionConflict: x-by-url 1.0 from elsewhere is installed, not {url}; "
        )


@pytest.mark.parametrize("url", ["", " @ file:///srv/a%20project"])
def test_an_editable_installation_is_not_seen_in_a_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Its metadata is where packages are, and its code is not."""
    origin = {"url": "file:///srv/a%20project", "dir_info": {"editable": True}}
    write_distribution(tmp_path / "site-packages", "edited", origin)
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    manifest = Manifest(name="m", dependencies=(f"edited{url}",))
    assert missing_requirements(manifest) == (
        "PackageNotFoundError: edited is installed as editable, from /srv/a project, which calls "
        "of plugins do not see; run: pip install '/srv/a project'"
    )


def test_what_lies_beside_the_packages_is_not_seen_in_a_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where PYTHONPATH or a .pth file leads to; what else is missing is installed first."""
    write_distribution(tmp_path / "elsewhere", "apart")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    words = (
        f"apart lies in {tmp_path / 'elsewhere'}, which PYTHONPATH or a .pth file adds: no call of "
        "a plugin sees it"
    )
    assert missing_requirements(Manifest(name="m", dependencies=("apart",))) == (
        f"PackageNotFoundError: {words}; run: pip install --ignore-installed apart"
    )
    both = missing_requirements(Manifest(name="m", dependencies=("apart", "absent-thing")))
    assert both == (
        f"PackageNotFoundError: absent-thing is not installed; {words}; install it with: "
        "pip install absent-thing"
    )
    needs = unmet(Manifest(name="m", dependencies=("apart>0",)))
    assert needs == f"PackageNotFoundError: needs apart>0, which {words.removeprefix('apart ')}"


def test_another_python_is_asked_for() -> None:
    """A plugin for another Python says so."""
    reason = missing_requirements(Manifest(name="m", requires_python=">=99")) or ""
    assert reason.startswith("RuntimeError: needs Python >=99 and this is 3.")


@pytest.mark.parametrize(
    ("dependencies", "left"),
    [
        ((), ["httpx", "anyio", "pillow"]),
        (("HTTPX>=0",), ["pillow"]),
        (("absent-thing", "Pillow"), ["httpx", "anyio"]),
    ],
)
def test_what_is_imported_and_brought_by_no_dependency_is_told(
    dependencies: tuple[str, ...], left: list[str]
) -> None:
    """By the distributions of the modules; what a named one requires itself comes with it."""
    modules = ("httpx", "anyio", "PIL", "json", "nobodys")
    assert unnamed(Manifest(name="m", dependencies=dependencies), modules) == left
