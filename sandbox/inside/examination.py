"""Runs in a plugin's place for ``plugins check``: loads it, calls it twice, tells what that took.

Sent to a cell as if it were a plugin's source (``exchange/messages.py``); has a plugin's rights.
It shares the process with the plugin, so what it returns is a reply like any other, and hostile.
"""

from __future__ import annotations

import _frozen_importlib
import _thread
import copy
import json
import os
import sys
import time

from toolrunner_inside import mistakes, protocol, worker  # type: ignore[import-not-found]  # the box's own

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_IMPORTING: Any = _frozen_importlib  # has functions that its stub does not tell of
_MOST_PACKAGES, _MOST_LEFT, _MOST_LIBRARIES, _LONGEST_NAME = 6, 12, 40, 60
_OWN = "the plugin"
_IMPORTERS = ("<frozen importlib", os.path.dirname(os.__file__) + "/importlib/")


class Imports:
    """Times every import of the thread that made it, and tells which one has left what behind."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._original: Callable[[str, object], object] = _IMPORTING._find_and_load
        self._thread = _thread.get_ident()
        self._inner: list[float] = []  # for each import under way, what those within it took
        self._looking = 0.0  # what is spent here, and is nobody's
        self._known = set(present())
        self._left: dict[tuple[str, str], str] = {}
        self._packages: dict[str, list[float]] = {}
        self._wanted: dict[str, None] = {}  # by the plugin's own code, in order
        _IMPORTING._find_and_load = self._find_and_load

    def now(self) -> float:
        """Return the time, without what was spent here."""
        return time.perf_counter() - self._looking

    def _find_and_load(self, name: str, import_: object) -> object:
        if _thread.get_ident() != self._thread or name in sys.modules:
            return self._original(name, import_)
        if mistakes.is_own(importer(sys._getframe(1)), self._order):
            self._wanted[name.partition(".")[0]] = None
        began = self.now()
        self._inner.append(0.0)
        try:
            return self._original(name, import_)
        finally:
            seconds = self.now() - began
            own = seconds - self._inner.pop()
            if self._inner:
                self._inner[-1] += seconds
            package = self._packages.setdefault(name.partition(".")[0], [0, 0.0])
            package[0] += 1
            package[1] += own
            self.look(name.partition(".")[0])

    def look(self, package: str) -> None:
        """Put down to a package what is here now and was not before."""
        began = time.perf_counter()
        there = set(present())
        for thing in there - self._known:
            self._left[thing] = package
        self._known = there
        self._looking += time.perf_counter() - began

    def taken(self) -> dict[str, Any]:
        """Return what has been imported since the last time: modules, ms, packages with most."""
        packages, self._packages = self._packages, {}
        order = sorted(packages.items(), key=lambda item: -item[1][1])[:_MOST_PACKAGES]
        return {
            "modules": int(sum(count for count, _ in packages.values())),
            "ms": milliseconds(sum(seconds for _, seconds in packages.values())),
            "packages": [
                {"name": name[:_LONGEST_NAME], "modules": int(count), "ms": milliseconds(seconds)}
                for name, (count, seconds) in order
            ],
        }

    def libraries(self) -> list[str]:
        """Return the modules beyond Python's and the plugin's that its own code has imported."""
        found = [
            name
            for name in self._wanted
            if name not in sys.stdlib_module_names
            and not any(f"{place}/".startswith(f"{self._order['path']}/") for place in places(name))
        ]
        return [name[:_LONGEST_NAME] for name in found[:_MOST_LIBRARIES]]

    def left(self) -> list[dict[str, str]]:
        """Return what is here still, with its name and whose import has made it."""
        found = present()
        things = [(thing, package) for thing, package in self._left.items() if thing in found]
        return [
            {"kind": kind, "name": found[kind, key][-_LONGEST_NAME:], "by": package}
            for (kind, key), package in sorted(things)[:_MOST_LEFT]
        ]


def importer(frame: Any) -> Any:
    """Return the frame that an import stands in, also one by ``importlib.import_module``."""
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_IMPORTERS):
        frame = frame.f_back
    return frame


def places(name: str) -> list[str]:
    """Return where a module has been found."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    if spec is None:
        return []
    return [str(place) for place in (spec.origin, *(spec.submodule_search_locations or ()))]


def present() -> dict[tuple[str, str], str]:
    """Return this process's threads, descriptors and files, as far as this box can see them."""
    found = {("file", name): name for name in os.listdir()}
    try:
        own = comm("/proc/self")
        for task in os.listdir("/proc/self/task"):
            name = comm(f"/proc/self/task/{task}")
            # One that was given no name has the process's, which says nothing.
            found["thread", task] = "" if name == own else name
        for number in os.listdir("/proc/self/fd"):
            try:
                found["descriptor", number] = os.readlink(f"/proc/self/fd/{number}")
            except OSError:
                continue  # the one that the list was read by
    except OSError:
        pass  # a box without /proc, or a thread that has ended
    return found


def comm(folder: str) -> str:
    """Return the name of a process or thread."""
    with open(f"{folder}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()


def milliseconds(seconds: float) -> float:
    """Return a time as it is told."""
    return round(seconds * 1000, 1)


class Examination:
    """What is known of a plugin that has been loaded here."""

    def __init__(self, order: dict[str, Any], source: bytes) -> None:
        self._imports = imports = Imports(order)
        began = imports.now()
        self._plugin = worker.load_plugin(order, source)
        imports.look(_OWN)
        self._load_ms = milliseconds(imports.now() - began)
        self._loading = imports.taken()
        self._left = imports.left()
        began = imports.now()
        worker.warm_up(self._plugin, order["rehearsal"])
        self._warm_up_ms = milliseconds(imports.now() - began)
        imports.taken()

    def of(self, payload: dict[str, Any], context: Any) -> dict[str, Any]:
        """Call the plugin twice and return what has been found out."""
        times, calling = [], None
        scratch, before = os.getcwd(), set(os.listdir())
        for _ in range(2):
            given = copy.deepcopy(payload)
            began = self._imports.now()
            kind, _ = worker.reply_of(self._plugin, given, context.unheard())
            times.append(milliseconds(self._imports.now() - began))
            if kind != protocol.RETURNED:
                message = "the plugin does not answer when it is called twice"
                raise RuntimeError(message)
            calling = calling or self._imports.taken()
            os.chdir(scratch)
            worker.empty_but_for(before)
        return {
            "load_ms": self._load_ms,
            "loading": self._loading,
            "warm_up_ms": self._warm_up_ms,
            "has_warm_up": self._plugin.warm_up is not None,
            "left": self._left,
            "first_ms": times[0],
            "second_ms": times[1],
            "calling": calling,
            "libraries": self._imports.libraries(),
        }


def begin(order: bytes, source: bytes) -> None:
    """Load the plugin of an order; called at the end of this source, before the entry is sought."""
    globals()["run"] = Examination(json.loads(order), source).of
