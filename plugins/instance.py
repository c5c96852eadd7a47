"""What ``PluginRegistry.register`` was given, as a plugin whose code lies in a file.

Called by the registry, through ``discovery``. A function or class is looked up by its name in its
own file and loaded again inside the box; the object at hand is never pickled, called or sent.
"""

from __future__ import annotations

import inspect
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from toolrunner.plugins import fields
from toolrunner.plugins.errors import ManifestError, shown
from toolrunner.plugins.manifest import FOLDER_MANIFEST, Manifest, read_inline, read_toml
from toolrunner.plugins.plugin import Plugin
from toolrunner.sandbox.paths import ForeignLinkError, find

_ACCEPTED = (
    "give the path of a plugin file or folder, a Manifest that was read from a file, a Plugin, or "
    "a function run(payload) or a class with run(self, payload) at the top level of a source file"
)


def plugin_at(path: Path, origin: str) -> Plugin:
    """Read the plugin in a file, or in a folder that holds toolrunner.toml."""
    real, named = _real(path), _with_links(path)
    if os.path.isdir(real):  # noqa: PTH112 - Path.is_dir raises where a folder cannot be entered
        manifest = read_toml(real / FOLDER_MANIFEST)
        return Plugin(manifest, real, manifest.entry, "folder", origin, named)
    return Plugin(read_inline(real), real, "", "file", origin, named)


def _with_links(path: Path) -> str:
    """Return the absolute path by which to look for it anew, where links may have been swapped."""
    return os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118 - .. stays


def resolve_instance(name: str, instance: object) -> Plugin:
    """Return the plugin that ``instance`` stands for, under ``name``.

    Raises ManifestError, which names what is accepted, for anything that has no file of its own:
    what runs in a box is loaded from a file there.
    """
    if not (isinstance(instance, Plugin) and instance.name == name):  # which may be a tool's
        _check_name(name)
    if isinstance(instance, Plugin):
        return instance
    if isinstance(instance, Manifest):
        return _of_manifest(name, instance)
    if isinstance(instance, str | os.PathLike):
        return _of_path(name, instance)
    if inspect.isclass(instance):
        return _of_class(name, instance)
    if inspect.isfunction(instance):
        return _of_object(name, instance, instance.__module__, instance.__qualname__)
    if callable(getattr(type(instance), "run", None)):
        return _of_class(name, type(instance))
    raise _refused(name, f"{_kind(instance)} is not a plugin")


def _check_name(name: str) -> None:
    try:
        fields.name(name)
    except ValueError as error:
        message = f"the plugin name {ascii(name)[:80]} {error}"
        raise ManifestError(message) from None


def _of_path(name: str, given: str | os.PathLike[Any]) -> Plugin:
    path = os.fspath(given)
    if not isinstance(path, str) or not path:
        raise _refused(name, f"{given!r:.80} is not a path")
    return _named(name, plugin_at(Path(path), shown(path)))


def _of_manifest(name: str, manifest: Manifest) -> Plugin:
    file = manifest.file
    if file is None:
        raise _refused(name, "this Manifest does not say which file holds the code")
    if file.name == FOLDER_MANIFEST:
        if not (manifest.entry or manifest.command):
            raise _refused(name, f"{shown(file)} names neither an entry nor a command")
        folder, entry = file.parent, manifest.entry
        return _named(
            name, Plugin(manifest, _real(folder), entry, "folder", shown(file), _with_links(folder))
        )
    return _named(name, Plugin(manifest, _real(file), "", "file", shown(file), _with_links(file)))


def _named(name: str, plugin: Plugin) -> Plugin:
    return replace(plugin, manifest=plugin.manifest.named(name))


def _of_class(name: str, cls: type) -> Plugin:
    if not callable(getattr(cls, "run", None)):
        raise _refused(name, f"the class {cls.__qualname__} has no method run(self, payload)")
    plugin = _of_object(name, cls, cls.__module__, cls.__qualname__)
    try:
        inspect.signature(cls).bind()
    except ValueError:
        pass  # no signature to judge by: the box will see
    except TypeError:
        text = (
            f"the class {cls.__qualname__} needs arguments; it is constructed without any inside "
            "the box, so give them defaults"
        )
        raise _refused(name, text) from None
    return plugin


def _of_object(name: str, found: object, module_name: str, qualname: str) -> Plugin:
    module = sys.modules.get(module_name)
    source = getattr(module, "__file__", None)
    if not isinstance(source, str) or not source.endswith(".py"):
        raise _refused(name, f"{qualname} was not defined in a source file")
    path = _real(Path(source))
    if not path.is_file():
        raise _refused(name, f"{shown(path)}, where {qualname} was defined, is not there")
    # In the box it is found by this name in this file, so that is where it must be.
    if not qualname.isidentifier() or getattr(module, qualname, found) is not found:
        raise _refused(name, f"{qualname} is not at the top level of {shown(path)}")
    named = _with_links(Path(source))
    return Plugin(_default_manifest(name), path, qualname, "file", shown(path), named)


def _default_manifest(name: str) -> Manifest:
    try:
        return Manifest(name=name)
    except ValidationError as error:
        raise ManifestError(str(error)) from None


def _kind(instance: object) -> str:
    return "None" if instance is None else f"an object of class {type(instance).__qualname__}"


def _refused(name: str, text: str) -> ManifestError:
    return ManifestError(f"cannot register {name}: {text}; {_ACCEPTED}")


def _real(path: Path) -> Path:
    try:
        return Path(find(str(path)).path)
    except ForeignLinkError as error:
        message = f"{shown(path)}: {error.strerror}"
        raise ManifestError(message) from None
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return path.absolute()  # whoever reads it says so
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL
        message = f"{shown(path)}: not a usable path: {error}; name a plugin file or folder"
        raise ManifestError(message) from None
