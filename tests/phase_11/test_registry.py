"""Registration, look-up and listing; what is unknown, replaced or cannot run here."""

import logging
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from toolrunner.plugins.manifest import ManifestError
from toolrunner.runner.registry.registry import PluginRegistry
from toolrunner.runner.registry.shared_metrics import SharedMetrics
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.state.leases import Lease

GOOD = """\
# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "mean-colour"
# version = "1.2.0"
# description = "Average colour of an image"
# ///
raise SystemExit("imported in the parent")


def run(payload):
    return {}
"""


@pytest.fixture
def registry() -> PluginRegistry:
    """Return a registry of two plugins, registered out of order."""
    made = PluginRegistry()
    made.register("ocr", "Reads text", "1.0.0")
    made.register("barcode")
    return made


@pytest.fixture
def plugin_file(tmp_path: Path) -> Path:
    """Return a good plugin in a file."""
    path = tmp_path / "mean_colour.py"
    path.write_text(GOOD)
    return path


def test_registries_are_ordinary_instances(registry: PluginRegistry) -> None:
    """Two registries share nothing."""
    assert PluginRegistry().list_plugins() == []
    assert registry.list_plugins() == ["barcode", "ocr"]


def test_any_object_is_kept_as_it_is() -> None:
    """``get`` returns the very instance, whatever it is."""
    registry, instance = PluginRegistry(), object()
    registry.register("ocr", instance=instance)
    assert registry.get("ocr") is instance


def test_unknown_plugin_is_a_key_error_or_none(registry: PluginRegistry) -> None:
    """``get`` raises, the questions answer."""
    with pytest.raises(KeyError):
        registry.get("nobody")
    with pytest.raises(KeyError):
        registry.plugin("nobody")
    assert registry.get_status("nobody") is None
    assert registry.get_state("nobody") is None
    assert not registry.is_available("nobody")
    assert registry.settled_state("nobody") == "UNAVAILABLE"


def test_new_plugin_is_loaded_and_uncounted(registry: PluginRegistry) -> None:
    """The status has every field of the contract, with nothing in it yet."""
    status = registry.get_status("ocr")
    assert status is not None
    assert (status.name, status.state) == ("ocr", "LOADED")
    assert (status.description, status.version, status.reason) == ("Reads text", "1.0.0", "")
    assert (status.success_count, status.error_count, status.in_flight) == (0, 0, 0)
    assert status.last_used is None
    assert status.last_execution_time_ms is None
    assert status.avg_execution_time_ms is None
    assert status.uptime_seconds >= 0


def test_status_is_a_frozen_picture(registry: PluginRegistry) -> None:
    """A status does not change, neither by its holder nor by later calls."""
    status = registry.get_status("ocr")
    assert status is not None
    registry.mark_running("ocr")
    assert status.state == "LOADED"
    with pytest.raises(FrozenInstanceError):
        status.state = "FAILED"  # type: ignore[misc]  # what the test is about


def test_lists_are_sorted_and_show_the_unavailable(registry: PluginRegistry) -> None:
    """Names and statuses come by name; only list_available leaves some out."""
    registry.mark_unavailable("aaa", "ModuleNotFoundError: no cv2")
    assert registry.list_plugins() == ["aaa", "barcode", "ocr"]
    assert [status.name for status in registry.list_all()] == ["aaa", "barcode", "ocr"]
    assert registry.list_available() == ["barcode", "ocr"]
    assert list(registry.all_states().items()) == [
        ("aaa", "UNAVAILABLE"),
        ("barcode", "LOADED"),
        ("ocr", "LOADED"),
    ]
    assert registry.is_available("ocr")
    assert not registry.is_available("aaa")


def test_states_are_plain_strings(registry: PluginRegistry) -> None:
    """Callers compare, print and serialise them as text."""
    assert type(registry.get_state("ocr")) is str
    assert type(registry.settled_state("ocr")) is str
    assert {type(state) for state in registry.all_states().values()} == {str}
    assert {type(status.state) for status in registry.list_all()} == {str}


def test_replacing_warns_and_counts_anew(
    registry: PluginRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """The new registration wins whole; what is in flight is still in flight."""
    registry.mark_running("ocr")
    registry.mark_running("ocr")
    registry.update_execution_metrics("ocr", "FAILED", 5, had_error=True)
    with caplog.at_level(logging.WARNING):
        registry.register("ocr", "Other", "2.0.0")
    assert "ocr" in caplog.text
    status = registry.get_status("ocr")
    assert status is not None
    assert (status.description, status.version) == ("Other", "2.0.0")
    assert (status.success_count, status.error_count) == (0, 0)
    assert status.avg_execution_time_ms is None
    assert (status.in_flight, status.state) == (1, "RUNNING")
    registry.update_execution_metrics("ocr", "INITIALIZED", 5, had_error=False)
    assert registry.get_state("ocr") == "INITIALIZED"


def test_first_registration_does_not_warn(caplog: pytest.LogCaptureFixture) -> None:
    """Only a replacement is worth a warning."""
    PluginRegistry().register("ocr")
    assert not caplog.records


@pytest.mark.parametrize("method", ["running", "initialized", "failed", "metrics"])
def test_unknown_name_is_a_logged_no_op(
    method: str, registry: PluginRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Marking what is not there changes nothing, raises nothing, and says so in the log."""
    caplog.set_level(logging.INFO, "toolrunner.registry")
    if method == "running":
        registry.mark_running("nobody")
    elif method == "initialized":
        registry.mark_initialized("nobody")
    elif method == "failed":
        registry.mark_failed("nobody", "why")
    else:
        registry.update_execution_metrics("nobody", "FAILED", 1, had_error=True)
    assert "nobody" in caplog.text
    assert registry.list_plugins() == ["barcode", "ocr"]


def test_path_is_read_and_never_imported(plugin_file: Path) -> None:
    """The manifest says what the caller left out; the code, which would exit, does not run."""
    registry = PluginRegistry()
    registry.register("colour", instance=plugin_file)
    registry.register("own-words", "Mine", "9", instance=str(plugin_file))
    status, own = registry.get_status("colour"), registry.get_status("own-words")
    assert status is not None
    assert own is not None
    assert (status.description, status.version) == ("Average colour of an image", "1.2.0")
    assert (own.description, own.version) == ("Mine", "9")
    assert registry.get("colour") == plugin_file
    assert registry.plugin("colour").path == plugin_file.resolve()
    assert registry.plugin("colour") is registry.plugin("colour")


@pytest.mark.parametrize("text", [None, "def run(payload): return {}\n", "# not a plugin"])
def test_unusable_path_registers_as_unavailable(text: str | None, tmp_path: Path) -> None:
    """The reason names the class of the exception; nothing is raised."""
    path = tmp_path / "bad.py"
    if text is not None:
        path.write_text(text)
    registry = PluginRegistry()
    registry.register("bad", "Kept", instance=path)
    status = registry.get_status("bad")
    assert status is not None
    assert (status.state, status.description) == ("UNAVAILABLE", "Kept")
    assert "Manifest" in status.reason.partition(":")[0]
    with pytest.raises(ManifestError):
        registry.plugin("bad")


def test_missing_dependency_registers_as_unavailable(plugin_file: Path) -> None:
    """What is not installed is named, by the class of the exception that it would raise."""
    text = GOOD.replace("dependencies = []", 'dependencies = ["no-such-distribution-here>=1"]')
    plugin_file.write_text(text)
    registry = PluginRegistry()
    registry.register("colour", instance=plugin_file)
    status = registry.get_status("colour")
    assert status is not None
    assert status.state == "UNAVAILABLE"
    assert "no-such-distribution-here" in status.reason


def test_a_name_alone_is_known_and_has_nothing_to_run(registry: PluginRegistry) -> None:
    """What to run may be registered later; until then whoever needs it is told."""
    assert registry.get_state("ocr") == "LOADED"
    with pytest.raises(ManifestError):
        registry.plugin("ocr")


def test_discover_finds_bundled_and_given_plugins(plugin_file: Path, tmp_path: Path) -> None:
    """Good and broken ones are listed together, the broken with their reason."""
    (tmp_path / "broken.py").write_text(GOOD.replace('"mean-colour"', '"NOT A NAME"'))
    registry = PluginRegistry.discover([tmp_path], settings=Settings(state=tmp_path))
    assert "barcode" in registry.list_plugins()
    assert registry.is_available("mean-colour")
    broken = [status for status in registry.list_all() if "broken.py" in status.reason]
    assert [status.state for status in broken] == ["UNAVAILABLE"]
    assert broken[0].reason.startswith("ManifestError: ")
    assert registry.plugin("mean-colour").path == plugin_file.resolve()


def test_discover_takes_the_paths_of_the_settings_once(plugin_file: Path) -> None:
    """A path that both the caller and the settings name is one plugin."""
    settings = Settings(plugins=(plugin_file,))
    registry = PluginRegistry.discover([plugin_file], settings=settings)
    assert registry.is_available("mean-colour")
    alone = PluginRegistry.discover(settings=settings)
    assert alone.list_plugins() == registry.list_plugins()


def test_reading_a_changed_plugin_anew_keeps_its_counts(plugin_file: Path) -> None:
    """Its state begins again, what it has been through does not."""
    registry = PluginRegistry.discover([plugin_file], settings=Settings())
    registry.mark_running("mean-colour")
    registry.update_execution_metrics("mean-colour", "FAILED", 7, had_error=True)
    registry.mark_running("mean-colour")
    plugin_file.write_text(GOOD.replace("1.2.0", "1.3.0"))
    registry.reload()
    status = registry.get_status("mean-colour")
    assert status is not None
    assert (status.version, status.state, status.in_flight) == ("1.3.0", "RUNNING", 1)
    assert (status.error_count, status.last_execution_time_ms) == (1, 7)
    assert status.last_used is not None


def test_registries_that_share_a_folder_count_together(tmp_path: Path) -> None:
    """What one process records, the other shows, however short it was: counts, times, states."""
    folders = (tmp_path / "workers", tmp_path)
    leases = [Lease(folders[0]) for _ in range(2)]
    shared = [SharedMetrics(folders[1], lease) for lease in leases]
    registries = [PluginRegistry(), PluginRegistry()]
    for registry, metrics in zip(registries, shared, strict=True):
        registry.register("ocr")
        registry.share(metrics)
    one, other = registries
    for ms, state in ((0, "INITIALIZED"), (20, "FAILED")):
        one.mark_running("ocr")
        one.update_execution_metrics("ocr", state, ms, had_error=state == "FAILED")
    other.mark_running("ocr")
    shown = [registry.get_status("ocr") for registry in registries]
    assert [s and (s.success_count, s.error_count, s.in_flight, s.state) for s in shown] == [
        (1, 1, 1, "RUNNING")
    ] * 2
    assert [s and (s.last_execution_time_ms, s.avg_execution_time_ms) for s in shown] == [
        (20, 10)
    ] * 2
    assert all(s and s.last_used and s.last_used.year > 2000 for s in shown)
    other.update_execution_metrics("ocr", "INITIALIZED", 30, had_error=False)
    ended = one.get_status("ocr")
    assert ended is not None
    assert (ended.in_flight, ended.success_count, ended.state) == (0, 2, "INITIALIZED")
    assert ended.last_used
    assert all(s and s.last_used and s.last_used < ended.last_used for s in shown)
    # By no fault of the plugin's: it says nothing of the state, and is an error all the same.
    other.mark_running("ocr")
    other.update_execution_metrics("ocr", "INITIALIZED", 40, had_error=True)
    refused = one.get_status("ocr")
    assert refused is not None
    assert (refused.error_count, refused.success_count) == (2, 2)
    assert (refused.state, refused.last_execution_time_ms) == ("INITIALIZED", 40)
    for metrics, lease in zip(shared, leases, strict=True):
        metrics.close()
        lease.close()
