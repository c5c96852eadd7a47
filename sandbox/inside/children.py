"""What lets a plugin have processes of its own, by ``multiprocessing`` and what is built on it.

Called by the worker before a plugin is loaded. An interpreter that a plugin starts is told by its
parent how to begin: with which flags, and what its ``__main__`` is. Here both are those of the box,
whose launcher would then run again, and without any installed package.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    import types

MAIN = "__main__"


class Flags(tuple[int, ...]):  # noqa: SLOT001 - its names are those of sys.flags
    """``sys.flags`` as they are to be for an interpreter that a plugin starts.

    It finds the installed packages as any other, and nothing by where it stands.
    """


def show_as_an_ordinary_interpreter() -> None:
    """Have what a plugin starts begin like an interpreter, not like a box."""
    own = sys.flags
    flags = Flags(own)
    for name in dir(own):
        if not name.startswith(("_", "n_")) and name not in {"count", "index"}:
            setattr(flags, name, getattr(own, name))
    changed = {"isolated": 0, "no_site": 0, "ignore_environment": 0, "no_user_site": 1}
    for name, value in {**changed, "safe_path": True}.items():
        setattr(flags, name, value)
    sys.flags = flags  # type: ignore[assignment]  # has all of their names
    # Without a file and a spec, nothing is run again. What runs here lives on in its frames.
    sys.modules[MAIN] = type(sys)(MAIN)


def be_main(module: types.ModuleType, source: bytes) -> None:
    """Have a plugin's own file be what a child runs to know its functions."""
    try:
        with open(str(module.__file__), "rb"):
            pass
    except OSError:
        module.__dict__["__source__"] = source
        module.__class__ = Copied
    sys.modules[MAIN] = module


class Copied(type(sys)):  # type: ignore[misc]  # the type of modules
    """A plugin whose file cannot be opened from here: a child gets a copy, once there is one."""

    @property
    def __file__(self) -> str:
        """Return where a child finds the source."""
        copy = f"{os.environ['TMPDIR']}/{self.__name__}.py"
        if not os.path.exists(copy):
            with open(copy, "wb") as file:
                file.write(self.__source__)
        return copy


def know_by_main(module: types.ModuleType) -> None:
    """Have pickles look for a plugin's functions and classes where its children have them."""
    name = module.__name__
    for value in list(module.__dict__.values()):
        is_code = isinstance(value, (type, type(know_by_main)))
        if is_code and value.__dict__.get("__module__", name) == name == value.__module__:
            try:
                value.__module__ = MAIN
            except (AttributeError, TypeError):
                continue  # its metaclass minds
