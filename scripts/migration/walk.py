"""Which files below a folder a migration looks at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

MANIFEST = "toolrunner.toml"
METADATA = ("pyproject.toml", "setup.cfg", "setup.py", "manifest.json")
_SKIPPED = {
    "__pycache__",
    "node_modules",
    "build",
    "dist",
    "venv",
    "site-packages",
    "tests",
    "test",
}


def files(root: Path) -> Iterator[Path]:
    """Yield the files that matter below a folder: no links, no tests, nothing that was built."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and name[0] != ".")
        for name in sorted(names):
            path = Path(folder, name)
            is_test = name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"
            if is_test or path.is_symlink():
                continue
            if path.suffix == ".py" or name in {*METADATA, MANIFEST}:
                yield path
