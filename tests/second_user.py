"""Which tests two users share between them: ``pytest --first-user`` and ``--second-user``.

As root the suite runs twice, as root and as an ordinary user. What a call, a file or a process may
do differs between the two, and both run what is about that. What stands here is the same for
everybody, and the first runs it; where the suite runs once, it runs whole.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CLI, HTTP, SERVE, FUZZ = "tests/api/cli", "tests/api/http", "tests/api/serve", "tests/faults/fuzz"
MCP = "tests/api/mcp"
MCP_SAME = ("agents_page", "conformance", "messages", "names", "results", "schemas")

# By why it is the same for everybody.
SAME = {
    "it reads sources and documents": [
        "tests/governance",
        "tests/test_architecture.py",
        "tests/test_bench.py",
        "tests/test_bench_cluster.py",
        "tests/test_kernels.py",
        "tests/api/test_typed_source.py",
        "tests/api/metrics",
    ],
    "what a plugin is told, and what of ours it is, does not care who calls it": [
        "tests/plugins",
        "tests/runner/test_error_types.py",
        "tests/runner/test_errors.py",
        "tests/runner/test_tools.py",
        "tests/runner/test_tracebacks.py",
        "tests/runner/test_verdict.py",
        "tests/runner/test_where.py",
        "tests/runner/replay",
        "tests/sandbox/test_hints.py",
        "tests/sandbox/test_result_forms.py",
        "tests/toolrunner/test_pytest_plugin.py",
    ],
    "it works on values, without a process": [
        "tests/runner/payloads",
        "tests/runner/settings",
        "tests/runner/webhooks",
        f"{FUZZ}/test_bodies.py",
        f"{FUZZ}/test_frames.py",
        f"{FUZZ}/test_manifests.py",
        f"{FUZZ}/test_payloads.py",
    ],
    "what libraries leave behind does not care who calls them": ["tests/libraries"],
    "its rules are those of a store or a service, and calls are run for them as for all": [
        "tests/phase_11",
        "tests/phase_12",
        "tests/runner/jobs",
        "tests/runner/services",
    ],
    "what is built is the same": [
        "tests/test_cluster.py",
        "tests/test_examples.py",
        "tests/api/test_manifests.py",
        "tests/toolrunner/test_image.py",
        "tests/toolrunner/test_wheel.py",
    ],
    "it is about many calls and many deaths, each of which is tried by itself as well": [
        "tests/faults/test_soak.py",
        "tests/faults/test_soak_cluster.py",
        "tests/faults/test_soak_serve.py",
    ],
    "it is about what a command says, not about what may be done": [
        f"{CLI}/test_bad_input.py",
        f"{CLI}/test_check_samples.py",
        f"{CLI}/test_check_trials.py",
        f"{CLI}/test_completion.py",
        f"{CLI}/test_documents.py",
        f"{CLI}/test_first_hour.py",
        f"{CLI}/test_jobs.py",
        f"{CLI}/test_many_images.py",
        f"{CLI}/test_misplaced.py",
        f"{CLI}/test_objects_and_names.py",
        f"{CLI}/test_plugin_check.py",
        f"{CLI}/test_plugin_commands.py",
        f"{CLI}/test_replay.py",
        f"{CLI}/test_templates.py",
        f"{CLI}/test_terminal.py",
        f"{CLI}/test_stats.py",
        f"{CLI}/test_tools.py",
        f"{CLI}/test_views.py",
    ],
    "it is about what goes over the wire, not about who serves": [
        f"{HTTP}/clients",
        "tests/api/page",
        *(f"{MCP}/test_{name}.py" for name in MCP_SAME),
        f"{HTTP}/test_agents.py",
        f"{HTTP}/test_analyze.py",
        f"{HTTP}/test_annotated_picture.py",
        f"{HTTP}/test_artifacts.py",
        f"{HTTP}/test_callers.py",
        f"{HTTP}/test_clients.py",
        f"{HTTP}/test_edges.py",
        f"{HTTP}/test_heads.py",
        f"{HTTP}/test_jobs.py",
        f"{HTTP}/test_oddities.py",
        f"{HTTP}/test_openapi.py",
        f"{HTTP}/test_operations.py",
        f"{HTTP}/test_ranges.py",
        f"{HTTP}/test_revoked.py",
        f"{HTTP}/test_roles.py",
        f"{HTTP}/test_suspending.py",
        f"{HTTP}/test_tools.py",
        f"{HTTP}/test_untaken_answers.py",
        f"{SERVE}/test_clients.py",
        f"{SERVE}/test_cluster.py",
        f"{SERVE}/test_figures.py",
        f"{SERVE}/test_jobs_kept.py",
        f"{SERVE}/test_load.py",
        f"{SERVE}/test_logs.py",
        f"{SERVE}/test_places.py",
        f"{SERVE}/test_reloading.py",
        f"{SERVE}/test_jobs_in_a_bucket.py",
        f"{SERVE}/test_made_up.py",
        f"{SERVE}/test_traces.py",
        f"{SERVE}/test_webhooks.py",
    ],
}


# Tests in which calls are isolated with namespaces and without: each user runs each of them in one
# way, which differs from test to test, and attacks by which a call would escape in both.
_ISOLATED = re.compile(r"(\[|-)(no-)?namespaces(?=[-\]])")
_ATTACK = "-escape/"


def is_the_firsts(name: str) -> bool | None:
    """Return whose a test is that is run with namespaces and without; ``None`` if all others'."""
    found = _ISOLATED.search(name)
    if found is None or _ATTACK in name:
        return None
    both = name.replace(found[0], found[1])
    return bool(zlib.crc32(both.encode()) & 1) is (found[2] is None)


class Shared:
    """Leaves out what another user runs."""

    def __init__(self, *, is_first: bool) -> None:
        """``is_first``: whether this run has what is the same for everybody."""
        self._is_first = is_first

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leave them out."""
        same = tuple(name for names in SAME.values() for name in names)
        by_this: list[pytest.Item] = []
        left_out: list[pytest.Item] = []
        for item in items:
            is_the_firsts_alone = item.nodeid.startswith(same) or is_the_firsts(item.nodeid)
            is_anothers = is_the_firsts_alone is (not self._is_first)
            (left_out if is_anothers else by_this).append(item)
        items[:] = by_this
        config.hook.pytest_deselected(items=left_out)
