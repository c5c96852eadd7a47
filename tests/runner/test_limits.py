"""Every limit: what is inside it passes, what is beyond it is held, and by whom."""

from __future__ import annotations

import pytest

from tests.conftest import MakeRunner, WritePlugin
from tests.runner.limit_rows import (
    CPU,
    CPU_CHILDREN,
    CPU_HIDDEN,
    EMPTY_FILES,
    HEAP,
    MANY_FILES,
    ONE_FILE,
    PROCESSES,
    ROWS,
    SHARED,
    SPARSE_FILE,
    SPLIT,
    THREADS,
    THREADS_SPLIT,
    Row,
    held,
    run,
    source,
)
from toolrunner.sandbox.layers import Layers
from toolrunner.sandbox.limits import LIMIT_NAMES, Limits


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_is_inside_a_limit_passes(
    row: Row, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """A limit does not bite before its value."""
    value = row.room or row.value
    plugin = write_plugin(
        source(row, beyond=False), limits=f"{{ {row.limit} = {value}{row.others} }}"
    )
    _result, envelope = run(make_runner(plugin, layers=layers))
    assert envelope is None


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("whose", ["manifest", "operator"])
def test_what_is_beyond_a_limit_is_held(
    row: Row, whose: str, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """Whether the manifest asked for no more, or the operator's cap allows no more."""
    caps = {row.limit: row.value} if whose == "operator" else {}
    value = row.value if whose == "manifest" else getattr(Limits(), row.limit)
    plugin = write_plugin(
        source(row, beyond=True), limits=f"{{ {row.limit} = {value}{row.others} }}"
    )
    held(run(make_runner(plugin, layers=layers, caps=caps)), row)


def test_every_limit_is_tried() -> None:
    """A new limit needs a row, or one of the exact tests below."""
    exact = {"payload_mb", "log_kb"}
    assert {row.limit for row in ROWS} | exact == set(LIMIT_NAMES)


WATCHED = (
    HEAP,
    SHARED,
    SPLIT,
    CPU,
    CPU_CHILDREN,
    CPU_HIDDEN,
    PROCESSES,
    THREADS,
    THREADS_SPLIT,
    ONE_FILE,
    MANY_FILES,
)


@pytest.mark.parametrize("row", WATCHED, ids=lambda row: row.name)
def test_the_watchdog_holds_without_the_kernels_limits(
    row: Row, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """What it measures it ends, whatever the process could have been refused."""
    if row is ONE_FILE:
        row = Row(**{**vars(row), "beyond": f"{row.beyond}; time.sleep(LONG)"})
    plugin = write_plugin(source(row, beyond=True), limits=f"{{ {row.limit} = {row.value} }}")
    held(run(make_runner(plugin, layers=layers.without("rlimits"))), row)


KERNEL = (
    HEAP,
    Row(**{**vars(CPU), "value": 0.2}),
    Row(
        "forks without end",
        "processes",
        4,
        "pass",
        "children(900, lambda: time.sleep(LONG)); time.sleep(LONG)",
        "ProcessLimitExceeded",
    ),
    ONE_FILE,
    SPARSE_FILE,
)


@pytest.mark.parametrize("row", KERNEL, ids=lambda row: row.name)
def test_the_kernel_holds_without_the_watchdog(
    row: Row, write_plugin: WritePlugin, make_runner: MakeRunner, layers: Layers
) -> None:
    """The second line: later and with fewer words, but of the same type."""
    others = ", load_seconds = 20, threads = 4, wall_seconds = 60"
    plugin = write_plugin(
        source(row, beyond=True), limits=f"{{ {row.limit} = {row.value}{others} }}"
    )
    held(run(make_runner(plugin, layers=layers.without("watchdog"))), row)


@pytest.mark.parametrize("row", [MANY_FILES, EMPTY_FILES], ids=lambda row: row.name)
def test_the_scratch_itself_is_bounded(
    row: Row, write_plugin: WritePlugin, make_runner: MakeRunner, host_layers: Layers
) -> None:
    """With a mount namespace the scratch is a file system of the limit's size."""
    if "mount" not in host_layers.namespaces:
        pytest.skip("this kernel gives this user no namespaces (CLONE_NEWUSER is refused)")
    plugin = write_plugin(source(row, beyond=True), limits=f"{{ {row.limit} = {row.value} }}")
    held(run(make_runner(plugin, layers=host_layers.without("watchdog"))), row)
