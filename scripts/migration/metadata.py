"""What the files beside a plugin say of it: manifest.json, requirements.txt."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from migration.findings import Finding
from migration.manifest import Facts
from migration.source import UnreadableError, read_text
from migration.tools import tools_said

# What most requirements are; others are left to a person, as options and remarks have to be.
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_NUMBER = r"\d+(?:\.\d+)*"
_VERSION = (
    rf"[ ]*(?:[=!]=[ ]*{_NUMBER}(?:\.\*)?|(?:[<>]=|[<>=!]=|[<>])[ ]*{_NUMBER}(?:(?:a|b|rc)\d+)?"
    rf"|~=[ ]*\d+\.{_NUMBER})[ ]*"
)
_MARKER = (
    r"[ ]*;[ ]*(?:python_version|sys_platform|platform_system)[ ]*(?:[<>=!]=|[<>])[ ]*"
    r"""(?:"[\w.]+"|'[\w.]+')[ ]*"""
)
REQUIREMENT = re.compile(
    rf"{_NAME}(?:\[{_NAME}(?:,[ ]*{_NAME})*\])?[ ]*(?:{_VERSION}(?:,{_VERSION})*)?(?:{_MARKER})?",
    re.ASCII,
)


def facts_of(folder: Path, said: Facts | None = None) -> Facts:
    """Return what a folder says, and after it what ``said`` knows; UnreadableError if it cannot."""
    said = said or Facts()
    document = manifest_json(folder)
    texts = {key: value for key, value in document.items() if isinstance(value, str)}
    facts = Facts(
        name=texts.get("id") or texts.get("name", ""),
        version=texts.get("version", ""),
        description=texts.get("description", ""),
        requires_python=said.requires_python,
        dependencies=said.dependencies,
        tools=tools_said(document.get("tools")),
    )
    for listed in (document.get("dependencies"), document.get("requirements")):
        if facts.dependencies is None and isinstance(listed, list):
            facts.dependencies = [one for one in listed if isinstance(one, str)]
    requirements = folder / "requirements.txt"
    if facts.dependencies is None and requirements.is_file():
        lines = [line.partition(" #")[0].strip() for line in read_text(requirements).split("\n")]
        facts.dependencies = [line for line in lines if line and line[0] not in "#-"]
    if said.dependencies is None and facts.dependencies is not None:
        fit = {one for one in facts.dependencies if REQUIREMENT.fullmatch(one)}
        facts.not_requirements = [one for one in facts.dependencies if one not in fit]
        facts.dependencies = [one for one in facts.dependencies if one in fit]
    facts.fill({"version": said.version, "description": said.description})
    return facts


def manifest_json(folder: Path) -> dict[str, Any]:
    """Return a folder's manifest.json, empty if there is none; UnreadableError if it is broken."""
    path = folder / "manifest.json"
    if not path.is_file():
        return {}
    text = read_text(path)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise UnreadableError(
            Finding(path, line, f"not valid JSON: {error}", "correct it")
        ) from None
    return document if isinstance(document, dict) else {}
