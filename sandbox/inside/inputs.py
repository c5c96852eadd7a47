"""The files that a call is given, as its cell finds them: read-only, in a folder of its slot's.

The runner puts them there and takes them away. They lie below ``input`` in the working directory,
which is a link: the scratch is the cell's to write to, and the files are not.
"""

from __future__ import annotations

import os

from . import protocol

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

LINK = "input"


def root(profile: dict[str, Any]) -> list[str]:
    """Return the folder with those of all slots; none where the plugin takes no files."""
    if not profile["inputs"]:
        return []
    return [protocol.INPUTS if "mount" in profile["namespaces"] else profile["inputs"]]


def of_slot(profile: dict[str, Any], slot: int) -> list[str]:
    """Return the folder of a slot's calls; none where the plugin takes no files."""
    return [f"{folder}/{slot}" for folder in root(profile)]


def written(files: Iterable[tuple[str, str, bytes]]) -> list[dict[str, Any]]:
    """Write files where a call finds its own, for one that is only tried."""
    folder = f"{os.environ['TMPDIR']}/{LINK}"
    os.mkdir(folder)
    told = []
    for name, mime_type, data in files:
        path = f"{folder}/{name}"
        with open(path, "xb") as file:
            file.write(data)
        told.append({"name": name, "path": path, "mime_type": mime_type, "bytes": len(data)})
    return told


def shown(folder: str, files: list[tuple[str, str, int]]) -> list[dict[str, Any]]:
    """Show the files of a call in its working directory; return what the plugin is told of them."""
    link = f"{os.environ['TMPDIR']}/{LINK}"
    try:
        os.symlink(folder, link)
    except OSError:  # the import has put something there
        link = folder
    return [
        {"name": name, "path": f"{link}/{name}", "mime_type": mime_type, "bytes": size}
        for name, mime_type, size in files
    ]
