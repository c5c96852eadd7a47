"""Whether this interpreter has what a plugin asks for: Python itself and other distributions.

Called by discovery. Reads the metadata of installed distributions and
imports none of them; what they in turn require is their installer's business.
"""

import importlib.metadata
import platform
import shlex

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from toolrunner.plugins.manifest import Manifest


def missing_requirements(manifest: Manifest) -> str | None:
    """Return why the plugin cannot run on this interpreter, or ``None``.

    The reason begins with the name of the class of exception that fits it.
    """
    here = platform.python_version()
    if not SpecifierSet(manifest.requires_python).contains(here, prereleases=True):
        return (
            f"RuntimeError: needs Python {manifest.requires_python} and this is {here}; "
            "run toolrunner with such a Python"
        )
    absent: list[Requirement] = []
    unfit: list[tuple[Requirement, str]] = []
    for text in manifest.dependencies:
        requirement = Requirement(text)
        try:
            if requirement.marker is not None and not requirement.marker.evaluate():
                continue
        except (UndefinedComparison, UndefinedEnvironmentName, ValueError) as error:
            return f"{type(error).__name__}: the marker of {text!r} cannot be judged: {error}"
        installed = _installed_version(requirement.name)
        if installed is None:
            absent.append(requirement)
        elif not _fits(installed, requirement):
            unfit.append((requirement, installed))
    return _reason(absent, unfit) if absent or unfit else None


def _installed_version(name: str) -> str | None:
    try:
        # None where a distribution's metadata has no version: treated as an unusable one.
        found: str | None = importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, KeyError):
        return None
    return found or "unknown"


def _fits(installed: str, requirement: Requirement) -> bool:
    if not requirement.specifier:
        return True
    try:
        return requirement.specifier.contains(Version(installed), prereleases=True)
    except InvalidVersion:
        return False


def _reason(absent: list[Requirement], unfit: list[tuple[Requirement, str]]) -> str:
    found = []
    if absent:
        names = " and ".join(requirement.name for requirement in absent)
        found.append(f"{names} {'is' if len(absent) == 1 else 'are'} not installed")
    for requirement, installed in unfit:
        found.append(f"{requirement.name} {installed} is installed, not {requirement.specifier}")
    wanted = [*absent, *(requirement for requirement, _ in unfit)]
    command = " ".join(["pip install", *(_argument(requirement) for requirement in wanted)])
    kind = "PackageNotFoundError" if absent else "VersionConflict"
    pronoun = "it" if len(wanted) == 1 else "them"
    return f"{kind}: {'; '.join(found)}; install {pronoun} with: {command}"


def _argument(requirement: Requirement) -> str:
    """Return a requirement as one word of a shell; its marker has been evaluated already."""
    bare = Requirement(str(requirement))
    bare.marker = None
    return shlex.quote(str(bare))
