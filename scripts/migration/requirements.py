"""What a plugin without metadata seems to need, going by its imports. Asks nobody."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable

from migration.findings import Finding, Plan
from migration.source import Source, imports

_DISTRIBUTIONS = {
    "PIL": "pillow", "cv2": "opencv-python-headless", "yaml": "pyyaml", "sklearn": "scikit-learn",
    "skimage": "scikit-image", "bs4": "beautifulsoup4", "dateutil": "python-dateutil",
    "zxingcpp": "zxing-cpp", "fitz": "pymupdf", "google": "protobuf",
}  # fmt: skip


def needed(
    sources: Iterable[Source], hosts: frozenset[str], local: set[str], plan: Plan
) -> list[str]:
    """Return the distributions that some files import, and note that they were made out so."""
    sources = list(sources)
    needed_names: set[str] = set()
    optional: set[str] = set()
    for source in sources:
        for statement, is_optional in imports(source.tree):
            (optional if is_optional else needed_names).update(_modules(statement))
    known = local | hosts | sys.stdlib_module_names
    for names, what in (
        (needed_names - known, "its dependencies were taken from its imports"),
        (optional - needed_names - known, "these are imported only if they are there"),
    ):
        if names:
            listed = ", ".join(_distributions(names))
            instead = "correct the dependencies in its manifest, with versions"
            plan.notes.append(Finding(sources[0].path, 1, f"{what}: {listed}", instead))
    return _distributions(needed_names - known)


def _modules(statement: ast.Import | ast.ImportFrom) -> set[str]:
    """Return the top-level modules that a statement imports from outside of the plugin."""
    if isinstance(statement, ast.Import):
        return {alias.name.partition(".")[0] for alias in statement.names}
    return set() if statement.level else {(statement.module or "").partition(".")[0]}


def _distributions(names: set[str]) -> list[str]:
    return sorted(_DISTRIBUTIONS.get(name, name) for name in names)
