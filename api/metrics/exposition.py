"""Everybody's figures as Prometheus reads them.

What workers have counted comes from their tables; what is the same whoever is asked is looked at
now. A part of the server that does not work leaves its figures out, and the rest stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from toolrunner.api.metrics import families
from toolrunner.api.metrics.families import Family, Kind
from toolrunner.api.metrics.tables import Key, Tables
from toolrunner.api.version import version
from toolrunner.runner.registry.plugin_state import Lack, PluginState, PluginStatus
from toolrunner.runner.registry.suspensions import SuspendedBy

if TYPE_CHECKING:
    from toolrunner.runner.services.backend import Backend

_INFINITE = "+Inf"
_TYPES = {Kind.HIGHEST: "gauge"}
Samples = dict[Key, float]  # by the values of labels alone


def exposition(tables: Tables, backend: Backend, problems: Mapping[str, str]) -> bytes:
    """Return all metrics in the text format; ``problems``: what is wrong with each part."""
    return generate_latest(_All([*_counted(tables), *_seen(backend, problems)]))


class _All(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        """Return what there is."""
        return self._metrics


def _counted(tables: Tables) -> Iterator[Metric]:
    found: dict[str, Samples] = {family.name: {} for family in families.COUNTED}
    for table in tables.read():
        for (name, *labels), number in table:
            family, samples = families.BY_NAME.get(name), found.get(name)
            if family is None or samples is None:
                continue
            key = tuple(labels)
            if family.kind is Kind.HIGHEST:
                samples[key] = max(number, samples.get(key, number))
            else:
                samples[key] = samples.get(key, 0.0) + number
    for family in families.COUNTED:
        histogram = family.kind is Kind.HISTOGRAM
        yield (_histogram if histogram else _metric)(family, found[family.name])


def _metric(family: Family, samples: Samples) -> Metric:
    metric = Metric(family.name, family.about, _TYPES.get(family.kind, family.kind))
    name = f"{family.name}_total" if family.kind is Kind.COUNTER else family.name
    for key, number in sorted(samples.items()):
        # One that has the last label not is told without it.
        metric.add_sample(name, dict(zip(family.labels, key, strict=False)), number)
    return metric


def _histogram(family: Family, samples: Samples) -> Metric:
    """Return a histogram, whose buckets each hold what the smaller ones do as well."""
    metric = Metric(family.name, family.about, "histogram")
    for key in sorted({key[:-1] for key in samples}):
        labels = dict(zip(family.labels, key, strict=True))
        count = 0.0
        for bound in (*(f"{one:g}" for one in families.SECONDS), _INFINITE):
            count += samples.get((*key, bound), 0.0)
            metric.add_sample(f"{family.name}_bucket", {**labels, "le": bound}, count)
        metric.add_sample(f"{family.name}_count", labels, count)
        metric.add_sample(f"{family.name}_sum", labels, samples.get((*key, "sum"), 0.0))
    return metric


def _seen(backend: Backend, problems: Mapping[str, str]) -> Iterator[Metric]:
    yield from _of_plugins(backend.plugins.list_plugins())
    lacking = backend.plugins.lacking()
    unavailable: Samples = {
        (name, lack): lacking.get(name) is lack
        for name in backend.plugins.plugin_names()
        for lack in Lack
    }
    yield _metric(families.PLUGIN_UNAVAILABLE, unavailable)
    number = backend.installed_environments()
    yield _metric(families.ENVIRONMENTS, {} if number is None else {(): number})
    yield from _of_jobs(backend)
    yield _metric(families.PROBLEM, {(part,): bool(words) for part, words in problems.items()})
    yield _metric(families.LAYER, {(layer,): 1 for layer in backend.isolation_layers()})
    yield _metric(families.BUILD, {(version() or "not installed",): 1})


def _of_plugins(plugins: list[PluginStatus]) -> Iterator[Metric]:
    yield _metric(families.IN_FLIGHT, {(one.name,): one.in_flight for one in plugins})
    yield _metric(
        families.PLUGIN_STATE,
        {(one.name, state): one.state == state for one in plugins for state in PluginState},
    )
    yield _metric(
        families.PLUGIN_SUSPENDED,
        {(one.name, by): one.suspended_by == by for one in plugins for by in SuspendedBy},
    )
    yield _metric(families.PLUGIN_FAILURES, {(one.name,): one.failures_in_row for one in plugins})
    yield _metric(
        families.PLUGIN_INFO,
        {(one.name, one.version, one.environment or "none"): 1 for one in plugins},
    )


def _of_jobs(backend: Backend) -> Iterator[Metric]:
    counted = backend.counted_jobs()
    if counted is None:
        return
    kept, figures = counted
    yield _metric(families.JOBS, {(str(status),): number for status, number in kept.items()})
    yield _metric(families.JOBS_OLDEST, {(): figures.oldest_pending_seconds})
    yield _metric(families.JOBS_STRANDED, {(): figures.oldest_stranded_seconds})
    ended: Samples = {(str(status),): number for status, number in figures.ended.items()}
    yield _metric(families.JOBS_ENDED, ended)
