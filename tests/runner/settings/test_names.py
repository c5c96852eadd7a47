"""Settings that name plugins: which of the names are none."""

from __future__ import annotations

from toolrunner.runner.settings.names import unknown_names
from toolrunner.runner.settings.settings import PluginSettings, Settings


def test_names_of_no_plugin_are_told_with_their_setting() -> None:
    """With what may have been meant, or what turns a bundled one on."""
    settings = Settings(
        allow_network=("fetch", "fetsh"),
        allow_resident=("*", "python"),
        plugin={"sampel": PluginSettings(), "fetch": PluginSettings()},
    )
    network, resident, plugin = unknown_names(settings, ["fetch", "sample"])
    assert network.startswith("allow_network: there is no plugin 'fetsh'; did you mean 'fetch'?")
    assert resident.startswith("allow_resident: python is bundled, and off: allow_bundled")
    assert plugin.startswith("plugin.sampel: there is no plugin 'sampel'; did you mean 'sample'?")


def test_a_plugin_of_several_tools_has_its_name_and_theirs() -> None:
    """Whichever a setting uses."""
    settings = Settings(allow_network=("kit",), plugin={"kit": PluginSettings()})
    assert unknown_names(settings, ["kit:cut", "kit:glue"]) == []
