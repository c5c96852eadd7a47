"""What has become of plugins between two looks, and how it is told."""

from __future__ import annotations

from toolrunner.runner.registry.plugin_changes import Seen, plugin_changes

BROKEN = "ManifestError: no such key"


def test_what_has_changed_is_told_by_name_and_version() -> None:
    """What is new, has gone, is of another version, cannot run any more, or can again."""
    before = {
        "back": Seen("1.0.0", BROKEN),
        "gone": Seen("1.0.0"),
        "kept": Seen("1.0.0"),
        "lost": Seen("1.0.0"),
        "plain": Seen(""),
        "report": Seen("3.0.0"),
        "still": Seen("1.0.0", BROKEN),
        "worse": Seen("1.0.0", BROKEN),
    }
    after = {
        "back": Seen("1.0.0"),
        "kept": Seen("1.0.0"),
        "lost": Seen("1.0.0", BROKEN),
        "more": Seen("2.0.0"),
        "never": Seen("", BROKEN),
        "plain": Seen("1.0.0"),
        "report": Seen("2.9.0"),
        "still": Seen("1.0.0", BROKEN),
        "worse": Seen("1.0.0", "ManifestError: another"),
    }
    found = plugin_changes(before, after)
    assert [str(one) for one in found] == [
        "back 1.0.0 can run again",
        "gone 1.0.0 is gone",
        f"lost 1.0.0 cannot run now: {BROKEN}",
        "more 2.0.0 is new",
        f"never is new, and cannot run: {BROKEN}",
        "plain without a version -> 1.0.0",
        "report 3.0.0 -> 2.9.0",
        "worse 1.0.0 cannot run now: ManifestError: another",
    ]
    assert [one.plugin for one in found if one.is_loss] == ["gone", "lost", "never", "worse"]
