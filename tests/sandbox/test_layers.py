"""The layers' names, what switching one off leaves, and the floor under every call."""

from __future__ import annotations

import sys

import pytest

from toolrunner.sandbox.inside import namespaces, trials
from toolrunner.sandbox.inside.syscalls import Kernel
from toolrunner.sandbox.layers import LAYER_NAMES, NAMESPACES, Layers, floor_gaps

FULL = Layers(
    namespaces=frozenset(NAMESPACES),
    landlock=7,
    seccomp=True,
    rlimits=True,
    watchdog=True,
    proc=True,
)


def test_every_layer_is_either_on_or_missing() -> None:
    """No layer is forgotten, whichever are off."""
    for layers in (FULL, FULL.without("namespaces", "landlock"), Layers()):
        on = {name.split(":")[0] for name in layers.names()}
        assert on | set(layers.missing()) == set(LAYER_NAMES)
        assert not on & set(layers.missing())


def test_landlock_is_shown_with_its_abi() -> None:
    """The ABI tells what Landlock can deny."""
    assert "landlock:7" in FULL.names()
    assert "landlock" in FULL.without("landlock").missing()


def test_the_full_set_meets_the_floor() -> None:
    """A host with everything runs calls."""
    assert floor_gaps(FULL) == ()


def test_a_container_without_user_namespaces_meets_the_floor() -> None:
    """Landlock and seccomp do what namespaces would, at any ABI."""
    for abi in (1, 2, 3, 4, 5, 6, 7):
        layers = Layers(landlock=abi, seccomp=True, rlimits=True, watchdog=True)
        assert floor_gaps(layers) == ()


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        (("seccomp",), "not filtered"),
        (("namespaces", "landlock"), "foreign files"),
        (("namespaces.pid", "landlock"), "other processes"),
        (("rlimits", "watchdog"), "not bounded"),
        (("namespaces.net", "seccomp"), "network"),
        (("namespaces.pid", "seccomp"), "leave the tree"),
    ],
)
def test_what_is_below_the_floor_is_named(gone: tuple[str, ...], words: str) -> None:
    """Each promise that cannot be kept is one sentence."""
    assert any(words in gap for gap in floor_gaps(FULL.without(*gone)))


def test_requirements_know_names_and_abis() -> None:
    """A manifest may ask for a layer, or for Landlock of some ABI."""
    assert FULL.lacks(("seccomp", "landlock:6", "namespaces.net")) == ()
    assert FULL.lacks(("landlock:9", "cgroup")) == ("landlock:9", "cgroup")
    assert FULL.without("seccomp").lacks(("seccomp",)) == ("seccomp",)


def test_calls_are_isolated_only_where_something_isolates_them() -> None:
    """A plain process group does not keep calls apart."""
    assert "call_isolation" in FULL.names()
    assert "call_isolation" in FULL.without("namespaces").names()
    assert "call_isolation" in Layers(rlimits=True, watchdog=True, portable=True).missing()


class Recorder(Kernel):
    """Says where a root would be built, and builds none."""

    def mount(self, source: str, target: str, kind: str, flags: int, data: str = "") -> None:  # noqa: ARG002 - the real one's
        """Mount nothing."""
        if source == "tmpfs":
            raise StopIteration(target)


def test_a_root_is_built_where_it_hides_no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who builds it may yet import something of its own, whatever the plugin may see."""

    def place() -> str:
        with pytest.raises(StopIteration) as built:
            namespaces.build_root(Recorder(), trials.trial_profile(proc=False))
        return str(built.value.args[0])

    first = place()
    monkeypatch.setattr(sys, "base_prefix", f"{first}/python")
    assert place() != first
