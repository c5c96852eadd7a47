"""The scanner as a library: loaded by its path, as it is run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache

from tests.governance.edits import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

from phase12 import rules, source

__all__ = ["RULES", "found_in", "real", "rules", "source"]

RULES = rules.RULES


@cache
def real() -> source.Sources:
    """The project as it is, parsed once."""
    return source.read(ROOT)


def found_in(texts: Mapping[str, str | None]) -> list[source.Finding]:
    """Return the findings about the project with some files changed, missing or new.

    Only those files are judged again, unless what the others' judgement depends on has changed.
    """
    modules, unreadable = dict(real().modules), list(real().unreadable)
    changed: list[source.Module] = []
    for path, text in texts.items():
        modules.pop(path, None)
        if text is not None:
            parsed = source.parse(path, text.encode())
            if isinstance(parsed, source.Finding):
                unreadable.append(parsed)
            else:
                modules[path] = parsed
                changed.append(parsed)
    sources = source.Sources(modules, tuple(unreadable))
    project = rules.project_of(sources)
    found = [*unreadable, *rules.whole(sources)]
    for module in changed if project == rules.project_of(real()) else modules.values():
        found += rules.check(module, project)
    return sorted(found)
