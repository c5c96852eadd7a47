"""What processes have together beside jobs: counts, and the operator's word on plugins.

Those of one state folder have its files, those of a cluster its database. Which of the two, is
chosen here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolrunner.runner.jobs.cluster import open_together
from toolrunner.runner.jobs.store import StoreError
from toolrunner.runner.registry.counts import SharedCounts
from toolrunner.runner.registry.registry import PluginRegistry
from toolrunner.runner.registry.shared_metrics import SharedMetrics
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.state.leases import Lease

if TYPE_CHECKING:
    from toolrunner.runner.jobs.postgres.together import Together

_LOG = logging.getLogger("toolrunner.cluster")


@dataclass(frozen=True, slots=True)
class SharedState:
    """``together`` is what a cluster has, for keys and the audit; ``None`` where there is none."""

    counts: SharedCounts
    together: Together | None = None


@contextmanager
def shared_state(
    settings: Settings, registry: PluginRegistry, lease: Lease
) -> Iterator[SharedState]:
    """Have the registry of a server count, and know what is suspended, together with others."""
    with open_together(settings) as together:
        if together is None:
            with closing(SharedMetrics(settings.kept_state(), lease)) as files:
                registry.share(files)
                yield SharedState(files)
            return
        with closing(_join(registry, together)) as counts:
            together.start()
            yield SharedState(counts, together)


@contextmanager
def as_servers_have_it(settings: Settings, registry: PluginRegistry) -> Iterator[None]:
    """Have the registry of a command show and say what is so in all servers of a cluster."""
    with open_together(settings) as together:
        if together is None:
            yield
            return
        with closing(_join(registry, together)):
            try:
                together.look()
            except StoreError as error:
                _LOG.error("what follows is what is known here alone: %s", error)
            yield


def _join(registry: PluginRegistry, together: Together) -> SharedCounts:
    from toolrunner.runner.jobs.postgres.counts import ClusterCounts  # noqa: PLC0415 - needs the extra
    from toolrunner.runner.jobs.postgres.switches import ClusterSwitches  # noqa: PLC0415 - same

    counts = ClusterCounts(together)
    registry.share(counts)
    registry.switch_by(ClusterSwitches(together, registry))
    return counts
