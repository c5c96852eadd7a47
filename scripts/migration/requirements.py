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
    names: set[str] = set()
    paths = []
    for source in sources:
        paths.append(source.path)
        for statement, is_optional in imports(source.tree):
            if isinstance(statement, ast.Import) and not is_optional:
                names |= {alias.name.partition(".")[0] for alias in statement.names}
            elif isinstance(statement, ast.ImportFrom) and not (is_optional or statement.level):
                names.add((statement.module or "").partition(".")[0])
    names -= local | hosts | sys.stdlib_module_names
    found = sorted(_DISTRIBUTIONS.get(name, name) for name in names)
    if found:
        what = f"its dependencies were taken from its imports: {', '.join(found)}"
        plan.notes.append(Finding(paths[0], 1, what, "correct names and add versions"))
    return found
