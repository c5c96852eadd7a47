"""A user without a home, as a number is in a container: no HOME, and no entry in passwd."""

from __future__ import annotations

import pwd

import pytest

from tests.conftest import WritePlugin
from toolrunner import PluginRegistry, ToolRunner
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.settings.settings import Settings, SettingsError


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of such a user, which this process's is from now on."""

    def nobody(_uid: int) -> pwd.struct_passwd:
        message = "uid not found"
        raise KeyError(message)

    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "TOOLRUNNER_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    return Settings.load()


def test_calls_of_a_user_without_a_home_run(homeless: Settings, write_plugin: WritePlugin) -> None:
    """Nothing is kept of them; folders to read are judged as ever."""
    plugin = write_plugin("def run(payload):\n    return {}\n", read='["/usr/share"]')
    other = write_plugin("def run(payload):\n    return {}\n", name="other", read='["/etc"]')
    registry = PluginRegistry.discover([plugin, other], settings=homeless)
    with ToolRunner(registry, settings=homeless) as tool_runner:
        assert tool_runner.run("sample", {}) == ({}, None)
        _, error = tool_runner.run("other", {})
    assert error is not None
    assert "plugins may not see for the sake of /etc" in error["error"]["message"]


def test_what_has_to_keep_something_says_what_to_name(homeless: Settings) -> None:
    """A server keeps jobs."""
    with pytest.raises(SettingsError, match="name one with --state or TOOLRUNNER_STATE"):
        Backend(homeless)
