"""Whether this interpreter has what a plugin asks for: Python itself and other distributions.

Called by the registry. Reads the metadata of installed distributions and imports none of them;
what they in turn require is their installer's business.
"""

import importlib.metadata
import platform
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from toolrunner.plugins.manifest import Manifest
from toolrunner.plugins.origins import Hidden, hidden_from_boxes, is_from

# What a marker raises that cannot be judged.
_UNJUDGED = (UndefinedComparison, UndefinedEnvironmentName, ValueError)


def missing_requirements(manifest: Manifest) -> str | None:
    """Return why the plugin cannot run on this interpreter, or ``None``.

    The reason begins with the name of the class of exception that fits it, and ends with what
    would change this interpreter.
    """
    found = _looked_up(manifest)
    if found is None or isinstance(found, str):
        return found
    if not found.fits_python:
        return (
            f"RuntimeError: needs Python {manifest.requires_python} and this is "
            f"{platform.python_version()}; run toolrunner with such a Python"
        )
    return _reason(found)


def unmet(manifest: Manifest) -> str | None:
    """Return the same in words that go before what would install an environment for it."""
    found = _looked_up(manifest)
    if found is None or isinstance(found, str):
        return found
    words = []
    if not found.fits_python:
        here = platform.python_version()
        words.append(f"needs Python {manifest.requires_python}, and this is {here}")
    if found.absent:
        names = " and ".join(str(_bare(requirement)) for requirement in found.absent)
        verb = "is" if len(found.absent) == 1 else "are"
        words.append(f"needs {names}, which {verb} not installed")
    for requirement, installed in found.unfit:
        words.append(f"needs {_bare(requirement)}, and the runner has {installed}")
    for requirement, unseen in found.hidden:
        words.append(f"needs {_bare(requirement)}, which {unseen.words}")
    return f"{found.exception}: {'; '.join(words)}"


def unnamed(manifest: Manifest, modules: Iterable[str]) -> list[str]:
    """Return the distributions here that have these modules, and that no dependency brings.

    None of a module that several have: nobody knows which of them is meant.
    """
    wanted = list(modules)
    owners = importlib.metadata.packages_distributions() if wanted else {}
    brought = _brought_by(manifest.dependencies)
    found: dict[str, None] = {}
    for module in wanted:
        names = {canonicalize_name(name) for name in owners.get(module, ())}
        if len(names) == 1 and not names & brought:
            found |= dict.fromkeys(names)
    return list(found)


def _brought_by(dependencies: Iterable[str]) -> set[str]:
    """Return the distributions that these lead to, by the metadata of those that are here."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    left = [Requirement(text) for text in dependencies]
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        found.add(name)
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) not in seen:
                seen.add((name, extra))
                left += _required_by(name, extra)
    return found


def _required_by(name: str, extra: str) -> list[Requirement]:
    try:
        texts = importlib.metadata.requires(name) or ()
        required = [Requirement(text) for text in texts]
        return [one for one in required if not one.marker or one.marker.evaluate({"extra": extra})]
    except (importlib.metadata.PackageNotFoundError, InvalidRequirement, *_UNJUDGED):
        return []


@dataclass(frozen=True, slots=True)
class _Unmet:
    """What a plugin asks for that is not here; ``unfit``: with the version that is.

    ``hidden``: it is here, and no box shows it.
    """

    fits_python: bool
    absent: list[Requirement]
    unfit: list[tuple[Requirement, str]]
    hidden: list[tuple[Requirement, Hidden]]

    @property
    def exception(self) -> str:
        if not self.fits_python:
            return "RuntimeError"
        return "PackageNotFoundError" if self.absent or self.hidden else "VersionConflict"


def fits_this_python(manifest: Manifest) -> bool:
    """Tell whether this interpreter is one that the plugin asks for."""
    here = platform.python_version()
    return SpecifierSet(manifest.requires_python).contains(here, prereleases=True)


def _looked_up(manifest: Manifest) -> _Unmet | str | None:
    """Return what is not met, ``None`` if all is; or in words why that cannot be judged."""
    fits = fits_this_python(manifest)
    absent: list[Requirement] = []
    unfit: list[tuple[Requirement, str]] = []
    hidden: list[tuple[Requirement, Hidden]] = []
    for text in manifest.dependencies:
        requirement = Requirement(text)
        try:
            if requirement.marker is not None and not requirement.marker.evaluate():
                continue
        except _UNJUDGED as error:
            return f"{type(error).__name__}: the marker of {text!r} cannot be judged: {error}"
        installed = _installed_version(requirement.name)
        if installed is None:
            absent.append(requirement)
        elif requirement.url is not None and not is_from(requirement.name, requirement.url):
            unfit.append((requirement, f"{installed} from elsewhere"))
        elif requirement.url is None and not _fits(installed, requirement):
            unfit.append((requirement, installed))
        elif (unseen := hidden_from_boxes(requirement.name)) is not None:
            hidden.append((requirement, unseen))
    is_met = fits and not absent and not unfit and not hidden
    return None if is_met else _Unmet(fits, absent, unfit, hidden)


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


def _reason(found: _Unmet) -> str:
    words = []
    absent, unfit = found.absent, found.unfit
    if absent:
        names = " and ".join(requirement.name for requirement in absent)
        words.append(f"{names} {'is' if len(absent) == 1 else 'are'} not installed")
    for requirement, installed in unfit:
        wanted_one = requirement.url or requirement.specifier
        words.append(f"{requirement.name} {installed} is installed, not {wanted_one}")
    words += [f"{requirement.name} {unseen.words}" for requirement, unseen in found.hidden]
    wanted = [*absent, *(requirement for requirement, _ in unfit)]
    if not wanted:
        commands = " and ".join(unseen.remedy for _, unseen in found.hidden)
        return f"{found.exception}: {'; '.join(words)}; run: {commands}"
    command = " ".join(["pip install", *(shlex.quote(str(_bare(one))) for one in wanted)])
    pronoun = "it" if len(wanted) == 1 else "them"
    return f"{found.exception}: {'; '.join(words)}; install {pronoun} with: {command}"


def _bare(requirement: Requirement) -> Requirement:
    """Return a requirement without its marker, which has been evaluated already."""
    bare = Requirement(str(requirement))
    bare.marker = None
    return bare
