"""Settings that name plugins which are not there: no error, since plugins may come later.

Asked by who serves, with the names that discovery has found.
"""

from __future__ import annotations

from collections.abc import Sequence

from toolrunner.runner.names import unknown
from toolrunner.runner.settings.settings import Settings

_ALL = "*"


def unknown_names(settings: Settings, known: Sequence[str]) -> list[str]:
    """Return in words which settings name plugins that are none of ``known``.

    A plugin of several tools is named as a whole, and known by its tools.
    """
    there = {*known, *(name.partition(":")[0] for name in known), _ALL}
    named = [("allow_network", name) for name in settings.allow_network]
    named += [("allow_resident", name) for name in settings.allow_resident]
    named += [(f"plugin.{name}", name) for name in settings.plugin]
    return [
        f"{setting}: {unknown(name, known)}; it counts when there is one"
        for setting, name in named
        if name not in there
    ]
