"""What a call costs on this host, for ``toolrunner doctor``: a small bundled plugin, really called.

The plugin does next to nothing, so that what is measured is what isolation costs.
"""

from __future__ import annotations

import time

from toolrunner.api.cli.bench import Bench, NotTakenError
from toolrunner.api.cli.doctor import MEASURED, Cost
from toolrunner.api.cli.session import Session
from toolrunner.plugins.errors import ManifestError
from toolrunner.runner.payloads.samples import sample_payload

MODES = ("warm", "cold")


def costs(session: Session) -> list[Cost]:
    """Call the bundled plugin in each mode; nothing where the operator has it switched off."""
    try:
        plugin = session.registry.plugin(MEASURED)
    except (KeyError, ManifestError):
        return []
    payload, _ = sample_payload(plugin.manifest)
    if plugin.origin != "bundled" or payload is None:
        return []
    with Bench(plugin, session.settings, payload) as bench:
        began = time.monotonic()
        bench.first(runner := bench.runner(), runner.start(MEASURED))
        bench.begin(time.monotonic() - began)
        return [_cost(bench, mode) for mode in MODES]


def _cost(bench: Bench, mode: str) -> Cost:
    try:
        return Cost(mode, bench.p50_ms(bench.started(mode), mode))
    except NotTakenError as error:
        return Cost(mode, None, str(error))
