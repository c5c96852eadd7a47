"""What a plugin without metadata seems to need, going by its imports. Asks nobody."""

from __future__ import annotations

import ast

from migration.source import imports

_DISTRIBUTIONS = {
    "PIL": "pillow", "cv2": "opencv-python-headless", "yaml": "pyyaml", "sklearn": "scikit-learn",
    "skimage": "scikit-image", "bs4": "beautifulsoup4", "dateutil": "python-dateutil",
    "zxingcpp": "zxing-cpp", "fitz": "pymupdf", "google": "protobuf",
}  # fmt: skip


def dependencies_of(tree: ast.Module, local: set[str], known: frozenset[str]) -> list[str]:
    """Return what a file without metadata seems to need, going by its imports."""
    names: set[str] = set()
    for statement, is_optional in imports(tree):
        if is_optional:
            continue
        if isinstance(statement, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in statement.names}
        elif not statement.level:
            names.add((statement.module or "").partition(".")[0])
    return sorted(_DISTRIBUTIONS.get(name, name) for name in names - local - known)
