"""Gathers for ``toolrunner plugins show --stats`` what this host's files know of a plugin's calls.

The counts of the state folder, the audit log, the jobs, and the failed calls that are kept. What
cannot be read is named, and the rest is shown.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from toolrunner.api.audit_choice import kept_audit
from toolrunner.api.cli.kept_jobs import kept_jobs
from toolrunner.api.known_calls import (
    SUCCESS,
    KnownCall,
    failures,
    of_audit,
    of_jobs,
    over_time,
    percentile,
)
from toolrunner.api.limit_shares import shares
from toolrunner.runner.registry.counts import Counted
from toolrunner.runner.registry.plugin_state import PluginStatus
from toolrunner.runner.registry.shared_metrics import kept_counts
from toolrunner.runner.replay.bundle import Bundle, BundleError, bundles_at
from toolrunner.runner.settings.settings import Settings, SettingsError

_LAST = 10
_MOST_BUNDLES = 200
_MEDIAN, _ALL_BUT_A_HUNDREDTH = 0.5, 0.99


def stats_document(
    settings: Settings, status: PluginStatus, limits: Mapping[str, float]
) -> dict[str, Any]:
    """Return what is known of a plugin's calls; ``limits`` are those in force."""
    missing: list[str] = []
    calls = sorted(_known(settings, status.name, missing), key=lambda one: one.at, reverse=True)
    kept = _kept(settings, status.name, missing)
    times = [one.ms for one in calls]
    return {
        "counts": _counts(settings, status, missing),
        "calls": {
            "known": len(calls),
            "failed": sum(one.outcome != SUCCESS for one in calls),
            "failures": failures(calls),
            "p50_ms": percentile(times, _MEDIAN),
            "p99_ms": percentile(times, _ALL_BUT_A_HUNDREDTH),
            "first": calls[-1].at.isoformat() if calls else None,
            "last": calls[0].at.isoformat() if calls else None,
            "over_time": [
                {"since": one.since.isoformat(), "calls": one.calls, "failed": one.failed}
                for one in over_time(calls)
            ],
        },
        "last_calls": [_call(one) for one in calls[:_LAST]],
        "limits": _shares(calls, kept, limits),
        "kept_failures": kept[:_LAST],
        "not_read": missing,
    }


def _call(call: KnownCall) -> dict[str, Any]:
    known = asdict(call)
    del known["usage"]
    return {**known, "at": call.at.isoformat()}


def _known(settings: Settings, name: str, missing: list[str]) -> list[KnownCall]:
    found: list[KnownCall] = []
    try:
        with kept_audit(settings) as log:
            found += [] if log is None else of_audit(log, name)
    except (OSError, SettingsError) as error:
        missing.append(f"the audit log: {error}")
    try:
        with kept_jobs(settings) as store:
            found += [] if store is None else of_jobs(store, name)
    except (OSError, SettingsError) as error:
        missing.append(f"the jobs: {error}")
    return found


def _counts(settings: Settings, status: PluginStatus, missing: list[str]) -> dict[str, Any]:
    counted: Counted | None = None
    if not settings.jobs:  # else the status has those of all servers
        try:
            counted = kept_counts(settings.kept_state()).get(status.name)
        except (OSError, sqlite3.Error, SettingsError, ValueError) as error:
            missing.append(f"the counts: {error}")
    if counted is None:
        return {
            "successes": status.success_count,
            "errors": status.error_count,
            "in_flight": status.in_flight,
            "mean_ms": status.avg_execution_time_ms,
            "last_ms": [],
        }
    times = list(counted.times)
    return {
        "successes": counted.successes,
        "errors": counted.errors,
        "in_flight": counted.in_flight,
        "mean_ms": sum(times) / len(times) if times else None,
        "last_ms": times,
    }


def _kept(settings: Settings, name: str, missing: list[str]) -> list[dict[str, Any]]:
    """Return the failed calls of a plugin that ``keep_failures`` has kept, the newest first."""
    folder = settings.keep_failures
    if folder is None or not folder.is_dir():
        return []
    found = []
    try:
        for one in islice(sorted(bundles_at(folder), reverse=True), _MOST_BUNDLES):
            call = Bundle(one).call
            if call.plugin == name:
                found.append(_failure(one, call.failed_at, call.error, call.limits))
    except BundleError as error:
        if any(folder.iterdir()):
            missing.append(f"the failed calls that are kept: {error}")
    return found


def _failure(
    path: Path, at: str, error: Mapping[str, Any], limits: Mapping[str, float]
) -> dict[str, Any]:
    return {
        "path": str(path),
        "at": at,
        "type": str(error["type"]),
        "message": str(error["message"]),
        "limits": _used(error["details"].get("usage"), limits),
    }


def _shares(
    calls: list[KnownCall], kept: list[dict[str, Any]], limits: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return the largest share of each limit that a call is known to have used."""
    largest: dict[str, dict[str, Any]] = {}
    every = [one for call in calls for one in _used(call.usage, limits)]
    for one in every + [one for failure in kept for one in failure["limits"]]:
        before = largest.get(one["limit"])
        if before is None or one["fraction"] > before["fraction"]:
            largest[one["limit"]] = one
    return list(largest.values())


def _used(usage: object, limits: Mapping[str, float]) -> list[dict[str, Any]]:
    return [asdict(one) for one in shares(usage, limits)] if isinstance(usage, Mapping) else []
