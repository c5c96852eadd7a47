"""``toolrunner doctor --attack``: hostile plugins against this host, and what it says of them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.api.conftest import Cli
from tests.conftest import skip_unless_taken
from toolrunner.api.attack import surroundings
from toolrunner.api.attack.apart import attacker
from toolrunner.api.attack.campaign import Case, attack
from toolrunner.api.attack_report import read
from toolrunner.api.cli.commands import doctor as doctor_command
from toolrunner.api.cli.console import Terminal
from toolrunner.api.cli.doctor import Examination
from toolrunner.api.cli.options import shared_options
from toolrunner.api.cli.session import Session
from toolrunner.api.cli.views.attack import view
from toolrunner.plugins.corpus import Fault, faults
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.layers import LAYER_NAMES, Layers, floor_gaps
from toolrunner.sandbox.probe import Host

FAULTS = {fault.name: fault for fault in faults()}
STOPPED_BY = {*LAYER_NAMES, "namespaces", "deadline", "protocol", "process"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings that take less isolation than the floor."""
    return Settings.load(state=tmp_path / "state", isolation="degraded")


@pytest.mark.timeout(900)
def test_attacks_are_contained_here(cli: Cli) -> None:
    """As JSON: each case with its outcome, the layer that stopped it and how."""
    chosen = ["escape/", "tree/daemon", "resources/sleep", "channel/foreign_frame", "python/abort"]
    only = [word for name in chosen for word in ("--only", name)]
    ended = cli("doctor", "--attack", "--json", *only)
    [document] = ended.documents
    cases = {case["name"]: case for case in document["cases"]}
    assert ended.status == 0
    assert all(case["outcome"] == "contained" for case in cases.values()), cases
    assert {name.partition("[")[0] for name in cases} == {
        name for name in FAULTS if name.startswith(tuple(chosen))
    }
    assert {case["layer"] for case in cases.values()} <= STOPPED_BY
    assert all(case["detail"] for case in cases.values())
    assert cases["escape/kernel_surface"]["layer"] == "seccomp"
    assert cases["resources/sleep"]["layer"] == "deadline"
    assert cases["channel/foreign_frame[unknown kind]"]["layer"] == "protocol"
    assert cases["python/abort"]["layer"] == "process"


def test_the_view_for_people_counts_and_explains(cli: Cli, tmp_path: Path) -> None:
    """Every case has a line; the last ones sum it up. It is kept for the page."""
    only = ("doctor", "--attack", "--only", "channel/forged_reply")
    ended = cli(*only, "--state", tmp_path / "kept")
    assert "channel/forged_reply" in ended.out
    assert "1 cases: 1 contained." in ended.out
    assert "escaped: it got what it wanted" in ended.out
    report = read(tmp_path / "kept")
    assert report is not None
    assert [case.name for case in report.cases] == ["channel/forged_reply"]
    (tmp_path / "file").touch()
    ended = cli(*only, "--state", tmp_path / "file")
    assert ended.status == 0
    assert "The report is not kept for the page" in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "escape/"), "add --attack"),
        (("--attack", "--only", "escape/network_"), "did you mean escape/network?"),
    ],
)
def test_a_wrong_choice_is_refused(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    """With what to do instead; nothing runs."""
    ended = cli("doctor", *arguments)
    assert ended.status == 2
    assert words in ended.err


@pytest.mark.parametrize(
    ("fault", "gone", "words"),
    [
        ("escape/kernel_surface", ("seccomp",), "personality"),
        ("escape/files", ("namespaces", "landlock"), "it took away what others need"),
        ("escape/network", ("namespaces", "seccomp", "landlock"), "it reached a AF_UNIX SOCK"),
        ("resources/heap", ("watchdog", "rlimits", "cgroup"), "240 MiB of heap"),
    ],
)
def test_what_escapes_is_said_to_escape(
    fault: str, gone: tuple[str, ...], words: str, settings: Settings, host_layers: Layers
) -> None:
    """With the layers gone that would have stopped it, which the operator has accepted."""
    [case] = attack(FAULTS[fault], settings, skip_unless_taken(host_layers.without(*gone)))
    assert case.outcome == "escaped", case
    assert case.layer == "none"
    assert words in case.detail


def test_the_layers_that_stop_an_attack_are_found_out(
    settings: Settings, host_layers: Layers
) -> None:
    """By leaving the others out: several where they overlap, one where only one does it."""
    skip_unless_taken(host_layers.without("namespaces"))
    [files] = attack(FAULTS["escape/files"], settings, host_layers)
    assert "landlock alone stops" in files.detail
    assert ("namespaces alone stops" in files.detail) == ("mount" in host_layers.namespaces)
    [kernel] = attack(FAULTS["resources/memory_backed_files"], settings, host_layers)
    assert (kernel.layer, "alone stops" in kernel.detail) == ("seccomp", True)
    assert "landlock" not in kernel.detail


class EndsItsRunner(Fault):
    """A fault that does to the runner what no plugin should be able to do."""

    def plugin(self, *_: Any, **__: Any) -> Any:
        """End the process that would have run it."""
        os.kill(os.getpid(), signal.SIGKILL)


def test_an_attack_that_ends_the_runner_is_an_escape_and_not_the_end(
    settings: Settings, host_layers: Layers, monkeypatch: pytest.MonkeyPatch, open_folder: Path
) -> None:
    """The attacks after it go on, and nothing of it is left."""
    monkeypatch.setattr(surroundings, "_BASE", str(open_folder))
    chosen = [EndsItsRunner("tree/kills", "tree.kills", "Kills."), FAULTS["channel/two_replies"]]
    with attacker(chosen, settings, host_layers) as results:
        found = [case for cases in results for case in cases]
    assert [case.outcome for case in found] == ["escaped", "contained"]
    assert "it ended the runner itself" in found[0].detail
    assert list(open_folder.iterdir()) == []


def test_attacks_end_when_nobody_listens(settings: Settings, host_layers: Layers) -> None:
    """As after a Ctrl-C: leaving the context waits for those that run, not for the rest."""
    before = psutil.Process().children(recursive=True)
    chosen = [FAULTS["channel/two_replies"]] * 500
    with attacker(chosen, settings, host_layers) as results:
        next(results)
    assert psutil.Process().children(recursive=True) == before


def test_a_host_below_the_floor_refuses_to_attack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no call is taken there is nothing to attack; it says why, and exits 3."""
    session = Session(shared_options(None, str(tmp_path / "state"), True, False, False))
    found = Examination(Host(Layers(), ()), floor_gaps(Layers()))
    status = doctor_command._attack(session, found, [FAULTS["channel/two_replies"]])
    printed = capsys.readouterr()
    assert status == 3
    assert json.loads(printed.out) == {"cases": []}
    assert "the network is reachable" in printed.err


def test_the_view_puts_the_worst_at_the_end() -> None:
    """Where a person looks first after a long list."""
    terminal = Terminal()
    cases = [
        Case("a", "escaped", "none", "out"),
        Case("b", "degraded", "watchdog", "late"),
        Case("c", "contained", "seccomp", "denied"),
    ]
    with terminal.out.capture() as captured:
        terminal.show(view(cases))
    text = captured.get()
    assert text.index("contained ") < text.index("degraded ") < text.index("escaped ")
    assert "3 cases: 1 contained, 1 degraded, 1 escaped." in text
