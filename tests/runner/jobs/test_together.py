"""What servers of a cluster have together beside jobs: counts, and which plugins are suspended."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from tests.conftest import WritePlugin
from tests.postgres import Postgres
from tests.runner.waiting import spin
from toolrunner import PluginRegistry
from toolrunner.runner.jobs.postgres.connections import Connection
from toolrunner.runner.jobs.postgres.counts import ClusterCounts
from toolrunner.runner.jobs.postgres.together import Together
from toolrunner.runner.registry.offers import Offer
from toolrunner.runner.registry.plugin_state import PluginStatus
from toolrunner.runner.registry.suspensions import Verdict
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.services.shared_state import shared_state
from toolrunner.runner.settings.database_url import DatabaseUrl
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.state.leases import Lease

FORK = multiprocessing.get_context("fork")
OpenRegistry = Callable[[str], PluginRegistry]
SIMPLE = """
    def run(payload):
        if payload.get("fail"):
            raise ValueError("as told")
        return {}
"""


def joined(stack: ExitStack, url: str, state: Path) -> PluginRegistry:
    """Return a registry as a server with this state folder has it."""
    settings = Settings.load(state=state, jobs=url, blobs=(state / "blobs").as_uri())
    state.mkdir(exist_ok=True)
    registry = PluginRegistry()
    registry.look_below(state)
    registry.suspend_after(2, 3600)
    registry.register("sample", "a plugin", "1.0.0")
    lease = Lease(state / "workers")
    stack.callback(lease.close)
    stack.enter_context(shared_state(settings, registry, lease))
    return registry


@pytest.fixture
def open_registry(database: str, tmp_path: Path) -> Iterator[OpenRegistry]:
    """Return a function that makes the registry of one more server, by a name."""
    with ExitStack() as stack:
        yield lambda name: joined(stack, database, tmp_path / name)


def shown(registry: PluginRegistry) -> PluginStatus:
    """Return what is shown of the plugin."""
    status = registry.get_status("sample")
    assert status is not None
    return status


def called(registry: PluginRegistry, *, fails: bool = False, elapsed_ms: int = 10) -> None:
    """Count one call in and out."""
    registry.mark_running("sample")
    if fails:
        registry.note_fault("sample", "as told")
    state = "FAILED" if fails else "INITIALIZED"
    registry.update_execution_metrics("sample", state, elapsed_ms, fails)


def test_counts_are_sums_of_all(open_registry: OpenRegistry) -> None:
    """Shown by each, at once what is its own; and the last call, wherever it was, decides."""
    one, other = open_registry("one"), open_registry("other")
    called(one)
    assert shown(one).success_count == 1
    other.mark_running("sample")
    spin(lambda: shown(one).in_flight == 1)
    assert shown(one).state == "RUNNING"
    other.note_fault("sample", "as told")
    other.update_execution_metrics("sample", "FAILED", 30, had_error=True)
    for registry in (other, one):
        spin(lambda: shown(registry).error_count == 1)  # noqa: B023 - called here
        status = shown(registry)
        assert (status.success_count, status.in_flight, status.state) == (1, 0, "FAILED")
        assert (status.reason, status.last_failure) == ("as told", "as told")
        assert (status.last_execution_time_ms, status.avg_execution_time_ms) == (30, 20.0)
        assert status.last_used is not None
        assert status.last_failure_at is not None
    called(one, elapsed_ms=50)
    assert shown(one).success_count == 2
    for number in range(12):
        called(other, elapsed_ms=number)
    status = shown(other)
    assert (status.state, status.reason, status.success_count) == ("INITIALIZED", "", 14)
    assert (status.last_execution_time_ms, status.avg_execution_time_ms) == (11, 6.5)


def test_counts_outlive_their_process(
    open_registry: OpenRegistry, database: str, tmp_path: Path
) -> None:
    """Its end loses none, its death what was not yet written, and what is in flight."""

    def serve(ends: bool) -> None:
        with suppress(SystemExit), ExitStack() as stack:
            registry = joined(stack, database, tmp_path / "dead")
            called(registry)
            if ends:
                raise SystemExit
            registry.mark_running("sample")
            assert shown(registry).in_flight == 1  # so it is written
            called(registry)
            os.kill(os.getpid(), signal.SIGKILL)

    for ends, code in ((True, 0), (False, -signal.SIGKILL)):
        process = FORK.Process(target=serve, args=(ends,))
        process.start()
        process.join()
        assert process.exitcode == code
    registry = open_registry("one")
    assert (shown(registry).success_count, shown(registry).in_flight) == (2, 1)
    with psycopg.connect(database, options="-c search_path=toolrunner") as connection:
        connection.execute("UPDATE counters SET seen = seen - interval '1 minute'")
    assert (shown(registry).success_count, shown(registry).in_flight) == (2, 0)


def test_a_batch_is_counted_once_however_often_it_is_sent(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was committed and not answered is not counted again; what comes behind it is."""
    whole = psycopg.Connection.transaction

    @contextmanager
    def losing(connection: Connection) -> Iterator[None]:
        with whole(connection):
            yield
        raise ConnectionAbortedError

    def step() -> None:
        with together.reading() as connection:
            counts.step(connection, {})

    registry = PluginRegistry()
    registry.register("sample")
    with closing(Together(DatabaseUrl(database))) as together:
        counts = ClusterCounts(together)
        registry.share(counts)
        with monkeypatch.context() as patch:
            patch.setattr(psycopg.Connection, "transaction", losing)
            for _ in range(2):
                called(registry)
                with pytest.raises(ConnectionAbortedError):
                    step()
        called(registry)
        assert shown(registry).success_count == 1  # the first batch is known to be counted now
        assert shown(registry).success_count == 3
        assert shown(registry).in_flight == 0
        counts.close()


def test_what_is_counted_waits_for_postgresql(
    open_registry: OpenRegistry, postgres: Postgres
) -> None:
    """Each shows its own meanwhile; nothing is lost, and nothing counted twice."""
    one, other = open_registry("one"), open_registry("other")
    called(one)
    called(other)
    spin(lambda: shown(one).success_count == 2)
    postgres.stop(signal.SIGQUIT)
    called(one)
    assert shown(one).success_count == 2  # of its own
    postgres.start()
    spin(lambda: shown(other).success_count == 3)
    spin(lambda: shown(one).success_count == 3)


def test_the_operators_word_holds_everywhere(open_registry: OpenRegistry, tmp_path: Path) -> None:
    """On servers that start later too, and where the file was lost; `enable` ends the breaker's."""
    one, other = open_registry("one"), open_registry("other")
    assert not one.suspend("nothing")
    assert one.suspend("sample")
    assert one.refusal("sample", "call") is not None
    spin(lambda: other.refusal("sample", "call") is not None)
    assert shown(other).suspended_by == "operator"
    later = open_registry("later")
    spin(lambda: later.refusal("sample", "call") is not None)
    (tmp_path / "other" / "suspensions.json").unlink()
    spin(lambda: other.refusal("sample", "call") is not None)
    assert other.resume("sample")
    for registry in (one, other, later):
        spin(lambda: registry.refusal("sample", "call") is None)  # noqa: B023 - called here
    for call in ("first", "second"):
        other.heard("sample", call, Verdict.FAILED, "as told")
    assert shown(other).suspended_by == "breaker"
    assert one.refusal("sample", "call") is None  # each server's own
    assert one.resume("sample")
    spin(lambda: other.refusal("sample", "call") is None)


def test_the_operators_word_holds_while_postgresql_is_away(
    open_registry: OpenRegistry, postgres: Postgres
) -> None:
    """Nobody can say another one then, and who tries is told so."""
    one, other = open_registry("one"), open_registry("other")
    assert one.suspend("sample")
    spin(lambda: other.refusal("sample", "call") is not None)
    postgres.stop(signal.SIGQUIT)
    with pytest.raises(OSError, match="see that PostgreSQL runs"):
        one.resume("sample")
    again = open_registry("other")
    assert again.refusal("sample", "call") is not None
    postgres.start()
    spin(lambda: not _fails(one))
    spin(lambda: other.refusal("sample", "call") is None)


def _fails(registry: PluginRegistry) -> bool:
    try:
        registry.resume("sample")
    except OSError:
        return True
    return False


def test_a_plugin_is_where_a_worker_has_it(
    database: str, tmp_path: Path, write_plugin: WritePlugin
) -> None:
    """Each server says who has it in which version, also of one that it has not itself."""
    only = write_plugin(SIMPLE, name="only-here")
    with ExitStack() as stack:

        def backend(name: str, *paths: Path) -> Backend:
            state = tmp_path / name
            settings = Settings.load(
                state=state, jobs=database, blobs=(tmp_path / "blobs").as_uri(), job_threads=1
            )
            made = stack.enter_context(Backend(settings, plugin_paths=[str(one) for one in paths]))
            made.start()
            return made

        one, other = backend("one", only), backend("other")
        plugins = other.plugins
        spin(lambda: plugins.located("only-here") is not None)
        found = plugins.located("only-here")
        assert found is not None
        assert found.offers is not None
        assert [(o.version, o.workers) for o in found.offers] == [("1.0.0", 1)]
        assert (found.status.state, found.status.version) == ("UNAVAILABLE", "1.0.0")
        assert "is not on this server" in found.status.reason
        assert found.status.name in [each.status.name for each in plugins.everywhere()]
        spin(lambda: sum(o.workers for o in _offers(other, "text-stats")) == 2)
        one.analysis.analyze("only-here", {})
        spin(lambda: _status(other, "only-here").success_count == 1)
        assert plugins.located("nowhere") is None

        assert plugins.suspend("only-here")
        spin(lambda: one.plugins.refusal("only-here") is not None)
        spin(lambda: not _offers(other, "only-here"))
        found = plugins.located("only-here")
        assert found is not None
        assert found.status.suspended_by == "operator"
        assert plugins.resume("only-here")
        spin(lambda: one.plugins.refusal("only-here") is None)


def _status(backend: Backend, name: str) -> PluginStatus:
    found = backend.plugins.located(name)
    assert found is not None
    return found.status


def _offers(backend: Backend, name: str) -> tuple[Offer, ...]:
    found = backend.plugins.located(name)
    return () if found is None or found.offers is None else found.offers
