"""The fixture ``governed``."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from toolrunner.pytest_plugin.command import call, check_limits, payload_json
from toolrunner.pytest_plugin.injections import INJECTIONS
from toolrunner.pytest_plugin.outcome import Outcome
from toolrunner.pytest_plugin.plugin_copy import PluginCopy

Governed = Callable[..., Outcome]


@pytest.fixture
def governed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Return a function that runs a plugin once under Toolrunner's sandbox.

    ``governed(plugin, payload={}, *, limits={}, inject=())`` returns an ``Outcome``. ``plugin``: a
    file or folder, relative to pytest's rootdir, or the name of an installed plugin. ``payload``:
    JSON; ``image`` may be bytes, or the Path of a file. ``limits``: lower the manifest's for this
    call. ``inject``: one or several of

    - "slow": the plugin gets a tenth of the processor's time, as on an overloaded host; what does
      this counts as one of its processes, two at first;
    - "oom": from when ``run`` begins the kernel gives it no more memory (RLIMIT_DATA, as behind
      ``memory_mb``): what it allocates is a MemoryError, unless it fits into what it has;
    - "crash": its process dies by SIGSEGV when ``run`` has done its work and the reply is due;
    - "no_network": ``network = false``, whatever its manifest asks for.

    A plugin that cannot run at all fails the test, and so does such a host: nothing is skipped.
    """
    folder = tmp_path_factory.mktemp("governed")
    numbers = itertools.count()

    def run(
        plugin: str | os.PathLike[str],
        payload: Mapping[str, Any] | None = None,
        *,
        limits: Mapping[str, float] | None = None,
        inject: str | Sequence[str] = (),
    ) -> Outcome:
        __tracebackhide__ = True
        check_limits(limits or {})
        kinds = (inject,) if isinstance(inject, str) else tuple(inject)
        for kind in kinds:
            if kind not in INJECTIONS:
                raise ValueError(f"there is no injection {kind!r}; use {', '.join(INJECTIONS)}")
        root = request.config.rootpath
        found = PluginCopy.find(plugin, root).injected(kinds, folder / str(next(numbers)))
        return call(found, payload_json(payload or {}, root), limits or {}, folder)

    return run
