"""States and counts: what marks and recorded calls make of a plugin."""

from datetime import UTC, datetime

import pytest

from toolrunner.runner.registry.registry import PluginRegistry, PluginState, PluginStatus


@pytest.fixture
def registry() -> PluginRegistry:
    """Return a registry with one plugin."""
    made = PluginRegistry()
    made.register("ocr")
    return made


def status_of(registry: PluginRegistry) -> PluginStatus:
    """Return the one plugin's status."""
    status = registry.get_status("ocr")
    assert status is not None
    return status


def call(registry: PluginRegistry, state: str, ms: int = 1) -> None:
    """Record one whole call that ends in ``state``."""
    registry.mark_running("ocr")
    registry.update_execution_metrics("ocr", state, ms, had_error=state != "INITIALIZED")


def test_states_are_the_five_of_the_contract() -> None:
    """No other state exists, and each equals its name."""
    names = ["LOADED", "RUNNING", "INITIALIZED", "FAILED", "UNAVAILABLE"]
    assert list(PluginState) == names


def test_marks_lead_through_the_states(registry: PluginRegistry) -> None:
    """The last word wins, as it always did."""
    seen = [registry.get_state("ocr")]
    registry.mark_running("ocr")
    seen.append(registry.get_state("ocr"))
    registry.mark_initialized("ocr")
    seen.append(registry.get_state("ocr"))
    registry.mark_failed("ocr", "ValueError: x")
    seen.append(registry.get_state("ocr"))
    registry.mark_unavailable("ocr", "ImportError: y")
    seen.append(registry.get_state("ocr"))
    assert seen == ["LOADED", "RUNNING", "INITIALIZED", "FAILED", "UNAVAILABLE"]


def test_mark_running_sets_last_used(registry: PluginRegistry) -> None:
    """In UTC, between before and after."""
    before = datetime.now(UTC)
    registry.mark_running("ocr")
    last_used = status_of(registry).last_used
    assert last_used is not None
    assert before <= last_used <= datetime.now(UTC)


def test_reason_comes_with_a_failure_and_goes_with_a_success(registry: PluginRegistry) -> None:
    """mark_initialized and the next successful call both clear it."""
    registry.mark_failed("ocr", "ValueError: x")
    assert status_of(registry).reason == "ValueError: x"
    registry.mark_initialized("ocr")
    assert status_of(registry).reason == ""
    registry.mark_failed("ocr", "ValueError: x")
    call(registry, "INITIALIZED")
    assert (status_of(registry).state, status_of(registry).reason) == ("INITIALIZED", "")


def test_failed_plugin_can_still_be_called(registry: PluginRegistry) -> None:
    """FAILED is news, not a ban."""
    call(registry, "FAILED")
    assert registry.get_state("ocr") == "FAILED"
    assert registry.is_available("ocr")
    assert registry.list_available() == ["ocr"]


def test_plugin_runs_until_its_last_call_ends(registry: PluginRegistry) -> None:
    """Two calls at once: the first to end does not hide the other, the last decides."""
    registry.mark_running("ocr")
    registry.mark_running("ocr")
    registry.update_execution_metrics("ocr", "FAILED", 1, had_error=True)
    assert (status_of(registry).state, status_of(registry).in_flight) == ("RUNNING", 1)
    assert registry.settled_state("ocr") == "FAILED"
    registry.update_execution_metrics("ocr", "INITIALIZED", 1, had_error=False)
    assert (status_of(registry).state, status_of(registry).in_flight) == ("INITIALIZED", 0)
    assert registry.settled_state("ocr") == "INITIALIZED"


@pytest.mark.parametrize("settled", ["LOADED", "INITIALIZED", "FAILED"])
def test_failure_of_caller_or_host_leaves_the_state_as_it_was(
    settled: str, registry: PluginRegistry
) -> None:
    """ToolRunner gives the settled state back; the error counts all the same."""
    if settled != "LOADED":
        call(registry, settled)
    errors = status_of(registry).error_count
    registry.mark_running("ocr")
    registry.update_execution_metrics("ocr", registry.settled_state("ocr"), 1, had_error=True)
    assert registry.get_state("ocr") == settled
    assert status_of(registry).error_count == errors + 1


def test_late_loaded_does_not_undo_what_another_call_found(registry: PluginRegistry) -> None:
    """Two first calls at once: a refusal that saw LOADED ends after a success."""
    registry.mark_running("ocr")
    registry.mark_running("ocr")
    seen = registry.settled_state("ocr")
    registry.update_execution_metrics("ocr", "INITIALIZED", 1, had_error=False)
    registry.update_execution_metrics("ocr", seen, 1, had_error=True)
    assert registry.get_state("ocr") == "INITIALIZED"


@pytest.mark.parametrize("state", ["INITIALIZED", "FAILED", "LOADED", "RUNNING"])
def test_no_call_makes_an_unavailable_plugin_available(
    state: str, registry: PluginRegistry
) -> None:
    """Only a person's mark does; the reason stays until then."""
    registry.mark_unavailable("ocr", "ImportError: y")
    registry.mark_running("ocr")
    assert registry.get_state("ocr") == "UNAVAILABLE"
    registry.update_execution_metrics("ocr", state, 1, had_error=False)
    registry.mark_failed("ocr", "ValueError: x")
    status = status_of(registry)
    assert (status.state, status.reason) == ("UNAVAILABLE", "ImportError: y")
    assert status.success_count == 1
    registry.mark_initialized("ocr")
    assert registry.is_available("ocr")


def test_becoming_unavailable_during_a_call_outlasts_it(registry: PluginRegistry) -> None:
    """The end of the call does not bring it back."""
    registry.mark_running("ocr")
    registry.mark_unavailable("ocr", "ImportError: y")
    registry.update_execution_metrics("ocr", "INITIALIZED", 1, had_error=False)
    assert registry.get_state("ocr") == "UNAVAILABLE"


def test_mark_unavailable_makes_an_unknown_plugin_known(registry: PluginRegistry) -> None:
    """A plugin that could not even be read is listed with the reason."""
    registry.mark_unavailable("broken", "ManifestError: no name")
    status = registry.get_status("broken")
    assert status is not None
    assert (status.state, status.reason) == ("UNAVAILABLE", "ManifestError: no name")
    assert registry.get("broken") is None


def test_calls_are_counted_and_timed(registry: PluginRegistry) -> None:
    """Successes, errors, the last time and the mean."""
    call(registry, "INITIALIZED", 10)
    call(registry, "FAILED", 20)
    call(registry, "INITIALIZED", 60)
    status = status_of(registry)
    assert (status.success_count, status.error_count) == (2, 1)
    assert (status.last_execution_time_ms, status.avg_execution_time_ms) == (60, 30)
    assert status.last_used is not None
    call(registry, "FAILED")
    assert registry.get_state("ocr") == "FAILED"


@pytest.mark.parametrize("state", [*PluginState, "SLEEPING"])
@pytest.mark.parametrize("ms", [-1, 0, 1, 20, 1000, 86_400_000])
@pytest.mark.parametrize("had_error", [False, True])
def test_every_call_counts(
    state: str, ms: int, registry: PluginRegistry, *, had_error: bool
) -> None:
    """However short or long it was, whatever it left behind, begun or not: once, and no other."""
    registry.register("other")
    for number, is_begun in enumerate((True, False, True), 1):
        if is_begun:
            registry.mark_running("ocr")
        registry.update_execution_metrics("ocr", state, ms, had_error=had_error)
        status = status_of(registry)
        assert (status.success_count, status.error_count) == (
            (0, number) if had_error else (number, 0)
        )
        assert status.last_execution_time_ms == status.avg_execution_time_ms == max(0, ms)
        assert status.in_flight == 0
    other = registry.get_status("other")
    assert (other.success_count, other.error_count, other.last_used) == (0, 0, None)


@pytest.mark.parametrize("successes", [0, 1, 100])
def test_looking_changes_nothing(successes: int, registry: PluginRegistry) -> None:
    """A failure stays what it is, however often it is asked for, and whatever came before."""
    for _ in range(successes):
        call(registry, "INITIALIZED")
    registry.mark_running("ocr")
    registry.note_fault("ocr", "ValueError: x")
    registry.update_execution_metrics("ocr", "FAILED", 1, had_error=True)
    for _ in range(3):
        status = status_of(registry)
        assert [one.state for one in registry.list_all()] == [status.state] == ["FAILED"]
        assert registry.get_state("ocr") == registry.settled_state("ocr") == "FAILED"
        assert registry.all_states() == {"ocr": "FAILED"}
        assert (status.reason, status.success_count, status.error_count) == (
            "ValueError: x",
            successes,
            1,
        )


def test_mean_is_of_the_last_ten_calls(registry: PluginRegistry) -> None:
    """Older times are forgotten, counts are not."""
    for _ in range(5):
        call(registry, "INITIALIZED", 1000)
    for ms in range(10):
        call(registry, "INITIALIZED", ms)
    status = status_of(registry)
    assert status.avg_execution_time_ms == 4.5
    assert status.success_count == 15


def test_negative_and_broken_times_count_as_whole_milliseconds(registry: PluginRegistry) -> None:
    """A clock's slip is not shown as time travel."""
    call(registry, "INITIALIZED", -5)
    assert status_of(registry).last_execution_time_ms == 0
    call(registry, "INITIALIZED", 2.6)  # type: ignore[arg-type]  # what callers may do all the same
    assert status_of(registry).last_execution_time_ms == 3


def test_in_flight_never_falls_below_zero(registry: PluginRegistry) -> None:
    """An end without a beginning is counted, and the balance stays."""
    registry.update_execution_metrics("ocr", "INITIALIZED", 1, had_error=False)
    assert status_of(registry).in_flight == 0
    registry.mark_running("ocr")
    assert status_of(registry).in_flight == 1


def test_unheard_of_state_is_no_verdict(registry: PluginRegistry) -> None:
    """Recording happens in a finally and must not raise."""
    call(registry, "INITIALIZED")
    registry.update_execution_metrics("ocr", "SLEEPING", 1, had_error=True)
    assert registry.get_state("ocr") == "INITIALIZED"
    assert status_of(registry).error_count == 1


def test_metrics_take_the_positions_of_the_contract(registry: PluginRegistry) -> None:
    """(plugin_name, state, elapsed_ms, had_error), by position and by name."""
    registry.update_execution_metrics("ocr", "FAILED", 7, True)
    registry.update_execution_metrics(
        plugin_name="ocr", state="INITIALIZED", elapsed_ms=8, had_error=False
    )
    assert (status_of(registry).success_count, status_of(registry).error_count) == (1, 1)


def test_each_end_of_a_call_moves_last_used(registry: PluginRegistry) -> None:
    """A call that began long ago was used until it ended."""
    registry.mark_running("ocr")
    between = datetime.now(UTC)
    registry.update_execution_metrics("ocr", "INITIALIZED", 1, had_error=False)
    last_used = status_of(registry).last_used
    assert last_used is not None
    assert last_used >= between
