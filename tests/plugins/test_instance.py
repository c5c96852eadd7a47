"""Registering: which objects stand for a plugin, and the file that each one leads to."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from toolrunner.plugins.discovery import resolve_instance
from toolrunner.plugins.manifest import Manifest, ManifestError, read_inline, read_toml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

HERE = Path(__file__).resolve()

CODE = """\
# /// script
# [tool.toolrunner]
# name = "own"
# version = "1"
# input = "json"
# ///
def run(payload):
    return {}
class Plugin:
    def run(self, payload):
        return {}
class Needy:
    def __init__(self, model):
        self.model = model
    def run(self, payload):
        return {}
class Inherits(Plugin):
    pass
def wrapped(payload):
    return {}
original, wrapped = wrapped, lambda payload: {}
"""


def run(payload: dict[str, object]) -> dict[str, object]:
    """Return the payload: a plugin in a file of tests."""
    return payload


class Echo:
    """A plugin class in a file of tests."""

    def run(self, payload: dict[str, object]) -> dict[str, object]:
        """Return the payload."""
        return payload

    class Inner:
        """Not at the top level."""

        def run(self, payload: dict[str, object]) -> dict[str, object]:
            """Return the payload."""
            return payload


class Plain:
    """Not a plugin."""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[ModuleType]:
    """Import a user's own module from a file, as registering its objects needs."""
    path = tmp_path / "own_code.py"
    path.write_text(CODE)
    spec = importlib.util.spec_from_file_location("own_code", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules["own_code"] = loaded
    spec.loader.exec_module(loaded)
    yield loaded
    del sys.modules["own_code"]


@pytest.mark.parametrize(("instance", "entry"), [(run, "run"), (Echo, "Echo"), (Echo(), "Echo")])
def test_an_object_of_a_source_file_leads_to_that_file(instance: object, entry: str) -> None:
    """A function, a class and an instance are each found again by name, never pickled."""
    plugin = resolve_instance("echo", instance)
    assert (plugin.path, plugin.entry, plugin.kind) == (HERE, entry, "file")
    assert plugin.manifest == Manifest(name="echo")


def test_a_class_that_inherits_run_is_a_plugin(module: ModuleType) -> None:
    """The file is that of the class itself."""
    plugin = resolve_instance("p", module.Inherits())
    assert (plugin.path.name, plugin.entry) == ("own_code.py", "Inherits")


def test_a_path_is_read_and_registered_under_the_name_given(module: ModuleType) -> None:
    """The manifest counts; the name is the one that calls will use."""
    path = Path(str(module.__file__))
    for given in (path, str(path)):
        plugin = resolve_instance("other", given)
        assert (plugin.name, plugin.manifest.version, plugin.manifest.input) == (
            "other",
            "1",
            "json",
        )
        assert (plugin.path, plugin.entry, plugin.kind) == (path, "", "file")


def test_a_folder_and_its_manifest_are_the_same_plugin(tmp_path: Path) -> None:
    """Either leads to the folder and its entry."""
    (tmp_path / "main.py").write_text(CODE)
    toml = tmp_path / "toolrunner.toml"
    toml.write_text('[tool.toolrunner]\nname = "own"\nentry = "main:run"\n')
    by_path = resolve_instance("own", tmp_path)
    by_manifest = resolve_instance("own", read_toml(toml))
    assert (by_path.path, by_path.entry, by_path.kind) == (tmp_path, "main:run", "folder")
    assert (by_manifest.path, by_manifest.entry, by_manifest.kind) == (
        tmp_path,
        "main:run",
        "folder",
    )


def test_a_manifest_that_was_read_leads_to_its_file(module: ModuleType) -> None:
    """It may have been changed on the way."""
    path = Path(str(module.__file__))
    changed = read_inline(path).model_copy(update={"start": "cold"})
    plugin = resolve_instance("own", changed)
    assert (plugin.path, plugin.manifest.start) == (path, "cold")


def test_a_plugin_is_taken_as_it_is() -> None:
    """What discovery found can be registered."""
    plugin = resolve_instance("echo", run)
    assert resolve_instance("echo", plugin) is plugin


def local_class() -> type:
    """Return a class that no file defines at its top level."""

    class Local:
        def run(self, payload: dict[str, object]) -> dict[str, object]:
            return payload

    return Local


def made_from_text() -> object:
    """Return a function that was never in a file."""
    namespace: dict[str, object] = {"__name__": "never_a_module"}
    exec("def run(payload): return {}", namespace)
    return namespace["run"]


@pytest.mark.parametrize(
    ("instance", "words"),
    [
        (None, "None is not a plugin"),
        (object(), "an object of class object is not a plugin"),
        (3, "an object of class int"),
        ({"run": run}, "an object of class dict"),
        (b"plugin.py", "an object of class bytes"),
        (len, "an object of class builtin_function_or_method"),
        (functools.partial(run), "an object of class partial"),
        (lambda payload: payload, "not at the top level"),
        (Echo().run, "an object of class method"),
        (Echo.run, "not at the top level"),
        (Echo.Inner, "not at the top level"),
        (local_class(), "not at the top level"),
        (local_class()(), "not at the top level"),
        (made_from_text(), "was not defined in a source file"),
        (Plain, "has no method run"),
        (dict, "has no method run"),
        (Manifest(name="m"), "does not say which file"),
        ("", "is not a path"),
    ],
)
def test_what_has_no_file_of_its_own_is_refused(instance: object, words: str) -> None:
    """The error says what was given and lists what is accepted."""
    with pytest.raises(ManifestError) as caught:
        resolve_instance("p", instance)
    assert words in str(caught.value)
    assert "give the path of a plugin file" in str(caught.value)


def test_a_name_that_means_another_object_is_refused(module: ModuleType) -> None:
    """The box would find something else under that name in the file."""
    with pytest.raises(ManifestError, match="not at the top level"):
        resolve_instance("p", module.original)


def test_a_class_that_needs_arguments_is_refused(module: ModuleType) -> None:
    """An instance's state does not travel, so the box has to be able to construct it."""
    for instance in (module.Needy, module.Needy("model")):
        with pytest.raises(ManifestError, match="give them defaults"):
            resolve_instance("p", instance)


def test_a_module_whose_file_is_gone_is_refused(module: ModuleType) -> None:
    """There is nothing that a box could load."""
    Path(str(module.__file__)).unlink()
    with pytest.raises(ManifestError, match="is not there"):
        resolve_instance("p", module.run)


@pytest.mark.parametrize("path", ["gone.py", "a\0b", "x" * 300, "/dev/null"])
def test_a_path_without_a_plugin_is_refused(path: str) -> None:
    """A path is judged at once, not at the first call."""
    with pytest.raises(ManifestError):
        resolve_instance("p", path)


@pytest.mark.parametrize("name", ["", "Upper", "-x", "a" * 65, "x\n", "é"])
def test_an_illegal_name_is_refused(name: str) -> None:
    """Names are the same everywhere: in calls, in manifests and in addresses."""
    with pytest.raises(ManifestError, match="lower-case letters"):
        resolve_instance(name, run)
