"""What a reload changes: told by name, applied where it can be, and no secrets in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolrunner.runner.settings.changes import REREAD, changes, in_force
from toolrunner.runner.settings.settings import PluginSettings, Settings

HTTP = Path(__file__).parents[3] / "docs/http.md"


@pytest.fixture
def old() -> Settings:
    """What a server was started with."""
    return Settings(caps={"memory_mb": 512}, max_concurrent=4, max_batch=8)


def test_what_is_the_same_is_no_change(old: Settings) -> None:
    """However it was written."""
    assert changes(old, Settings(caps={"memory_mb": 512.0}, max_concurrent=4, max_batch=8)) == ()


def test_each_change_says_what_was_and_what_is(old: Settings) -> None:
    """And whether it has to wait for the next start."""
    new = Settings(caps={"memory_mb": 256}, max_concurrent=8, max_batch=8)
    told = [str(change) for change in changes(old, new)]
    assert told == [
        "caps.memory_mb = 256 (argument); it was 512",
        "max_concurrent = 8 (argument); it was 4; it counts from the next start on",
    ]


def test_only_what_can_be_changed_is(old: Settings, tmp_path: Path) -> None:
    """All else is as it was, also for a second look."""
    new = Settings(caps={"memory_mb": 256}, max_concurrent=8, max_batch=2, state=tmp_path)
    after = in_force(old, new)
    assert (after.caps["memory_mb"], after.max_batch) == (256, 2)
    assert (after.max_concurrent, after.state) == (4, old.state)
    assert [change.setting for change in changes(after, new)] == ["max_concurrent", "state"]


def test_the_config_of_a_plugin_is_told_by_its_name_alone(old: Settings) -> None:
    """It may be a secret."""
    of_ocr = PluginSettings(config={"key": "s3cret"})
    new = old.model_copy(update={"plugin": {"ocr": of_ocr}})
    [config, read] = changes(old, new)
    assert (config.setting, config.value, config.was) == (
        "plugin.ocr.config",
        "(hidden)",
        "(not set)",
    )
    assert (read.setting, read.value) == ("plugin.ocr.read", "[]")
    assert "s3cret" not in f"{config}{read}"


def test_what_can_be_changed_is_documented() -> None:
    """By its name, and there is such a setting."""
    guide = HTTP.read_text(encoding="utf-8")
    assert Settings.model_fields.keys() >= REREAD
    [sentence] = [part for part in guide.split("\n\n") if "from the next start on" in part]
    assert {name for name in Settings.model_fields if f"`{name}`" in sentence} == REREAD
