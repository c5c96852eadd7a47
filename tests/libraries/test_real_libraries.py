"""Real libraries in boxes: the right answers, and calls that start as the table says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from benchmarks import libraries

from tests.libraries.conftest import Service, missing_environment, plugin_file
from tests.libraries.table import KEPT_QUIET, TABLE
from toolrunner.sandbox.quiet_environment import QUIET


@pytest.mark.parametrize("name", TABLE)
def test_each_answers_rightly_and_starts_as_the_table_says(
    name: str, service: Service, isolation: str
) -> None:
    """A library of which a helper came back names it here, in the reasons."""
    row = TABLE[name]
    reason = row.reason(isolation)
    found = service(plugin_file(name), row.start, isolation)
    if row.fails_without and isolation == "no-namespaces":
        assert row.fails_without in str(found.answers)
        return
    assert found.answers == [("cold" if reason else "warm", row.answer)] * 2, found.reasons
    assert found.mode == ("cold" if reason else "warm")
    assert reason in "; ".join(found.reasons)
    assert bool(reason) == bool(found.reasons)


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.cold])
def test_what_cannot_be_forked_can_be_resident(name: str, service: Service, isolation: str) -> None:
    """Where the operator allows it."""
    if TABLE[name].fails_without and isolation == "no-namespaces":
        return  # said by the test above
    found = service(plugin_file(name), "resident", isolation, calls=3)
    assert found.answers == [("resident", TABLE[name].answer)] * 3


@pytest.mark.parametrize("variables", KEPT_QUIET, ids="-".join)
def test_without_its_variables_a_library_leaves_something_behind(
    variables: tuple[str, ...], service: Service
) -> None:
    """So each of them is still needed. On two processors or more: with one there is no pool."""
    assert set(variables) <= set(QUIET)
    name, reason = KEPT_QUIET[variables]
    found = service(plugin_file(name), "auto", "host", calls=0, undone=variables)
    assert found.mode in {"cold", "failed"}
    assert reason in "; ".join(found.reasons)


def test_threads_that_no_call_needs_are_not_missed(service: Service) -> None:
    """Of Polars, which statsmodels imports where it is installed, and never uses."""
    found = service(plugin_file("statsmodels_line"), "warm", "host")
    assert found.answers == [("warm", TABLE["statsmodels_line"].answer)] * 2


def test_a_pool_that_was_lost_is_waited_for(service: Service, open_folder: Path) -> None:
    """Until the wall limit: ``start = "warm"`` is the author's word, and here it was wrong."""
    source = plugin_file("pyarrow_table").read_text(encoding="utf-8")
    copy = open_folder / "pyarrow_table.py"
    limits = "limits = { wall_seconds = 3, "
    copy.write_text(source.replace("limits = { ", limits), encoding="utf-8")
    found = service(copy, "warm", "host", calls=1)
    assert found.mode == "warm"
    assert "TimeLimitExceeded" in str(found.answers)


def test_every_plugin_has_a_row() -> None:
    """And every row a plugin."""
    assert sorted(TABLE) == libraries.names()


def test_the_guide_says_how_each_starts() -> None:
    """As the table does, for a host with namespaces."""
    guide = (libraries.ROOT / "docs/fast-plugins.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"^\| (\w+) \| (warm|resident) \|", guide, re.MULTILINE))
    wanted = {name: "resident" if row.cold else "warm" for name, row in TABLE.items()}
    assert said == wanted


def test_who_has_no_environment_is_told_how_to_get_it(tmp_path: Path) -> None:
    """Missing or outdated."""
    assert "is missing. Make it with: scripts/libraries" in missing_environment(tmp_path)
    (tmp_path / ".installed").write_text("another lock")
    assert "is not as requirements-libraries.lock says" in missing_environment(tmp_path)
    assert os.access(libraries.ROOT / "scripts/libraries", os.X_OK)


FIGURE = """\
# /// script
# dependencies = ["matplotlib"]
# [tool.toolrunner]
# name = "figures"
# input = "json"
# input_schema = { examples = [{}] }
# limits = { memory_mb = 768 }
# warm_up = true
# ///
from matplotlib.figure import Figure


def run(payload):
    figure = Figure(figsize=(2, 1), dpi=50)
    figure.subplots().plot([1, 3, 2])
    return {"charts": [figure, figure]}
"""


def test_a_figure_in_a_result_becomes_a_picture(
    service: Service, isolation: str, tmp_path: Path
) -> None:
    """Of Matplotlib, which nobody but the plugin imports."""
    tmp_path.chmod(0o755)
    path = tmp_path / "figures.py"
    path.write_text(FIGURE, encoding="utf-8")
    found = service(path, "auto", isolation)
    assert [mode for mode, _ in found.answers] == ["warm"] * 2, found.reasons
    for _, answer in found.answers:
        names = [(one["artifact"], one["mime_type"]) for one in answer["charts"]]
        assert names == [("charts-0.png", "image/png"), ("charts-1.png", "image/png")]
        assert all(one["bytes"] > 500 for one in answer["charts"])
