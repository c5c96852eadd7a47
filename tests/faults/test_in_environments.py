"""Faults as libraries: what a package of a plugin's environment does when it is imported.

It has the plugin's box, and gets no more there than a plugin does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest

from tests import environments
from tests.faults.table import ROWS, Row
from tests.faults.test_corpus import FAULTS, check
from toolrunner.api.attack.trial import run_fault
from toolrunner.plugins.corpus import FOLDER, Fault
from toolrunner.plugins.plugin import Plugin
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.layers import Layers

# "escape/environment" would find PYTHONPATH, which is there for what a plugin starts.
TRIED = [
    row
    for row in ROWS
    if (row.fault.startswith("escape/") and row.fault != "escape/environment")
    or row.fault
    in {
        "imports/attacks_its_own_file",
        "imports/breaks_importing",
        "imports/replaces_streams_and_modules",
        "imports/talks_to_the_warden",
    }
]


@dataclass(frozen=True, slots=True)
class Library(Fault):
    """A fault that lies in an environment below ``state``; the plugin's own folder is empty."""

    state: Path = Path()

    def plugin(
        self, folder: Path, *, start: Literal["auto", "warm", "cold", "resident"] = "auto"
    ) -> Plugin:
        """Install the environment, and return the plugin that needs it."""
        plugin = Fault.plugin(self, folder / "as it is", start=start)
        empty = folder / "empty"
        empty.mkdir()
        manifest = plugin.manifest.model_copy(update={"dependencies": ("fault",)})
        plugin = replace(plugin, manifest=manifest, path=empty)
        file = Path(*self.module.split(".")).with_suffix(".py")
        files = {str(name): (FOLDER / name).read_text() for name in ("hostile.py", file)}
        environments.install(self.state, plugin, packages={"fault 1.0": files})
        return plugin


@pytest.mark.parametrize("row", TRIED, ids=lambda row: row.fault)
def test_a_library_gets_no_more_than_its_plugin(
    row: Row, open_folder: Path, layers: Layers
) -> None:
    """And its environment stays as it was."""
    state = open_folder / "state"
    fault = FAULTS[row.fault]
    library = Library(
        fault.name, fault.module, fault.summary, fault.entry, fault.limits, fault.payloads, state
    )
    answers = run_fault(library, Settings.load(state=state), layers)
    for answer in answers:
        assert (answer.harm, answer.cost, answer.done) == ((), (), ()), answer.variant
        check(row, answer, "auto")
    files = sorted((state / "environments").rglob("*.py"))
    originals = [FOLDER / "hostile.py", (FOLDER / fault.name).with_suffix(".py")]
    assert sorted(path.read_text() for path in files) == sorted(
        path.read_text() for path in originals
    )
