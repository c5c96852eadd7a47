"""Governed plugin calls: ``ToolRunner`` runs them, ``PluginRegistry`` knows and counts them."""

import importlib.util
from pathlib import Path


def _check_shadowing() -> None:
    """Refuse to work with another project's packages of the names that are ours.

    The names are common, and ``python -m``, ``python -c`` and PYTHONPATH put the working
    directory first. Half of this project and half of another would fail much less clearly.
    """
    home = Path(__file__).resolve().parent.parent
    for name in ("plugins", "sandbox"):
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve().parent if spec and spec.origin else None
        if found != home / name:
            message = (
                f"the package {name!r} of toolrunner-sandbox is shadowed by "
                f"{found or 'another one'}: start Python with -P, or from another folder"
            )
            raise ImportError(message)


_check_shadowing()

from runner.call import Call  # noqa: E402 - only once the packages are known to be ours
from runner.registry import PluginRegistry  # noqa: E402 - same
from runner.tool_runner import ToolRunner  # noqa: E402 - same

__all__ = ["Call", "PluginRegistry", "ToolRunner"]
