"""Compiled modules of the runner's own, for those that have none beside them.

Official images of Python and environments made by uv have no .pyc files, and a box can write none:
each would compile all that it imports. The runner does it once, from what it trusts itself
(``sandbox/bytecode.py``); boxes read that, and tell what was missing.
"""

import os
import sys

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Callable

_MACHINERY = "_frozen_importlib_external"
_MOST = 4000


class Lookup:
    """Takes the place of ``importlib.util.cache_from_source``."""

    def __init__(self, folder: str, beside: "Callable[..., str]") -> None:
        """``folder`` holds compiled files by the whole paths that they would have otherwise."""
        self._folder = folder
        self._beside = beside
        self.missing: dict[str, None] = {}

    def __call__(self, path: str, *debug: bool | None, **optimization: object) -> str:
        """Return where the compiled file of a source is, or could be."""
        own = self._beside(path, *debug, **optimization)
        if os.path.exists(own):
            return own
        if os.path.exists(self._folder + own):
            return self._folder + own
        if len(self.missing) < _MOST:
            self.missing[os.fspath(path)] = None
        return own  # where whoever compiles files of its own expects them


def use(folder: str) -> None:
    """Have this process, and its forks, look for compiled files in ``folder`` as well."""
    machinery = sys.modules[_MACHINERY]
    machinery.cache_from_source = Lookup(folder, machinery.cache_from_source)  # type: ignore[attr-defined]  # a module's attribute


def missing() -> bytes:
    """Return the sources that were compiled here, as a JSON list; nothing if there are none."""
    lookup = getattr(sys.modules[_MACHINERY], "cache_from_source", None)
    if not isinstance(lookup, Lookup) or not lookup.missing:
        return b""
    import json  # not above: what is imported before ``use`` is compiled by every launcher

    from . import protocol

    listed = json.dumps(list(lookup.missing)).encode()
    return listed if len(listed) <= protocol.SOURCES_CAP else b""
