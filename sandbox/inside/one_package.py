"""Lets a plugin of an installed distribution be imported without what is installed beside it.

Called by the worker for one that has an environment of its own: its package lies among the
runner's, which are not to be seen.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from typing import Any


class OnePackage:
    """Finds one package in its folder, and nothing else."""

    def __init__(self, name: str, folder: str) -> None:
        self._name = name
        self._folder = folder

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> Any:
        """Return how to load the package; ``None`` for every other name."""
        if name != self._name:
            return None
        machinery: Any = sys.modules["_frozen_importlib_external"]
        source = f"{self._folder}/__init__.py"
        if os.path.exists(source):
            return machinery.spec_from_file_location(
                name, source, submodule_search_locations=[self._folder]
            )
        spec = sys.modules["_frozen_importlib"].ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations.append(self._folder)
        return spec


def show(name: str, folder: str) -> None:
    """Have this process, and its forks, find a package in its folder, before any other."""
    sys.meta_path.insert(0, OnePackage(name, folder))
