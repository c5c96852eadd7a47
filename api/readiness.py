"""Whether a process can do what it is for, and what is to be mended: in words, for ``/readyz``.

Asked by the route of a server and by the health listener of a worker. Knows no framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolrunner.api.metrics.recording import RECENT_SECONDS
from toolrunner.api.shown import without_paths
from toolrunner.runner.errors import one_line
from toolrunner.runner.registry.plugin_state import Lack
from toolrunner.runner.registry.suspensions import suspended
from toolrunner.runner.services.backend import Backend
from toolrunner.runner.webhooks.addresses import told


@dataclass(frozen=True, slots=True)
class Readiness:
    """``reasons`` why nothing can be done now; ``warnings`` of what keeps nobody from it."""

    reasons: list[str]
    warnings: list[str]

    def document(self, *, shows_paths: bool) -> dict[str, object]:
        """Return what is answered; paths of the host are cut for who may not see them."""
        shown = str if shows_paths else without_paths
        return {
            "status": "not ready" if self.reasons else "ready",
            "reasons": [shown(one) for one in self.reasons],
            "warnings": [shown(one) for one in self.warnings],
        }


def readiness(
    backend: Backend,
    problems: Mapping[str, str],
    *,
    is_draining: bool,
    deaths: int,
    names_plugins: bool,
    hint: str = "",
) -> Readiness:
    """Return how a process stands.

    ``problems``: what ``backend`` and others have just said is wrong with each part of it, "" if
    nothing; without its keys nobody is served. ``deaths``: of workers, lately. ``hint``: where to
    learn the names of plugins, where these are not for who asks.
    """
    keys = problems.get("keys", "")
    reasons = ["draining"] if is_draining else []
    reasons += [*backend.not_ready(problems), *([keys] if keys else [])]
    warnings = [words for words in problems.values() if words and words not in reasons]
    aside = backend.counts_set_aside()
    warnings += [aside] if aside else []
    noticed = [_waiting(backend), _suspended(backend), _of_no_use(backend), _untaken(backend)]
    if names_plugins:
        warnings += [words for _, found in noticed for words in found]
    else:
        warnings += [f"{summary}{hint}" for summary, found in noticed if found]
    if deaths:
        minutes = RECENT_SECONDS // 60
        warnings.append(f"workers that died in the last {minutes} minutes: {deaths}; see the log")
    return Readiness(reasons, warnings)


def _waiting(backend: Backend) -> tuple[str, list[str]]:
    """Return in words which jobs no server can run: all together, and by plugin and version."""
    found = backend.seen().stranded
    summary = f"jobs that no server can run: {sum(one.jobs for one in found)}"
    return summary, [
        f"jobs that no server can run: {one.jobs} of {one.plugin} {one.version or ''}".rstrip()
        + (f": it {why}" if (why := backend.suspended(one.plugin, one.version)) else "")
        for one in found
    ]


def _suspended(backend: Backend) -> tuple[str, list[str]]:
    """Return in words which plugins take no calls: all together, and each by whom."""
    found = [
        f"{one.name} {suspended(one.name, one.suspended_by, one.failures_in_row)}"
        for one in backend.seen().plugins
        if one.suspended_by
    ]
    return f"plugins that are suspended: {len(found)}", found


def _of_no_use(backend: Backend) -> tuple[str, list[str]]:
    """Return in words which plugins have no manifest that can be used, or a name taken twice.

    What lacks an environment is no damage: it is installed by who wants that plugin.
    """
    lacking = backend.plugins.lacking()
    found = [
        f"{one.name} cannot run: {one_line(one.reason)}"
        for one in backend.seen().plugins
        if lacking.get(one.name) is Lack.MANIFEST
    ]
    return f"plugins whose manifest cannot be used: {len(found)}", found


def _untaken(backend: Backend) -> tuple[str, list[str]]:
    """Return in words which webhooks have lost messages: all together, and each with the remedy."""
    found = []
    for one in backend.seen().untaken:
        url = told(one.url)
        if one.has_gone:
            found.append(
                f"webhook {url} has answered 410 Gone, and nothing is posted there: take it out of"
                f" the settings, or `toolrunner webhooks retry` once it wants messages again"
            )
        else:
            found.append(
                f"webhook {url}: {one.failed} messages were given up ({one.reason}):"
                " `toolrunner webhooks retry` posts them again"
            )
    return f"webhooks that have not taken all messages: {len(found)}", found
