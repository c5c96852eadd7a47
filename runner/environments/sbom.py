"""What is in an environment as a software bill of materials: CycloneDX 1.6, as JSON shows it.

Made by ``plugins show --sbom`` of the environment's own record, and of the licence that each
distribution's metadata names. Those are its authors' words: data, and bounded.
"""

from __future__ import annotations

import os
import re
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from pathlib import Path

    from toolrunner.plugins.plugin import Plugin
    from toolrunner.runner.environments.store import Environment, Package

_METADATA_CAP = 1024 * 1024
_LICENCE = re.compile(rb"^License-Expression: ([A-Za-z0-9.+() -]{1,200})\r?$", re.MULTILINE)


def bill_of_materials(plugin: Plugin, environment: Environment) -> dict[str, Any]:
    """Return the packages of a plugin's environment; the same for the same environment."""
    licences = _licences(environment.site_packages)
    components = [
        _component(one, licences.get(canonicalize_name(one.name), ""))
        for one in sorted(environment.packages, key=lambda one: canonicalize_name(one.name))
    ]
    name = f"{environment.digest}/{plugin.name}/{plugin.manifest.version}"
    itself: dict[str, Any] = {"type": "application", "bom-ref": "plugin", "name": plugin.name}
    if plugin.manifest.version:
        itself["version"] = plugin.manifest.version
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, name).urn,
        "version": 1,
        "metadata": {
            "component": itself,
            "properties": [
                {"name": "toolrunner:environment", "value": environment.digest},
                {"name": "toolrunner:python", "value": environment.python_version},
            ],
        },
        "components": components,
        "dependencies": [
            {"ref": "plugin", "dependsOn": [one["bom-ref"] for one in components]},
            *({"ref": one["bom-ref"]} for one in components),
        ],
    }


def _component(package: Package, licence: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{canonicalize_name(package.name)}@{quote(package.version, safe='.-_')}"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "purl": purl,
    }
    if package.sha256:
        component["hashes"] = [{"alg": "SHA-256", "content": package.sha256}]
    if licence:
        component["licenses"] = [{"expression": licence}]
    return component


def _licences(site_packages: Path) -> dict[str, str]:
    """Return the licence of each distribution that names one, by its normalised name."""
    found: dict[str, str] = {}
    for folder in site_packages.glob("*.dist-info"):
        name = canonicalize_name(folder.name.removesuffix(".dist-info").rpartition("-")[0])
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            with os.fdopen(os.open(folder / "METADATA", flags), "rb") as file:
                head = file.read(_METADATA_CAP).partition(b"\n\n")[0]
        except OSError:
            continue
        match = _LICENCE.search(head)
        if match:
            found[name] = match[1].decode("ascii").strip()
    return found
