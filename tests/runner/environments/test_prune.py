"""``plugins prune``: what nobody needs any more goes, what is used stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner.environments.conftest import Find, Install
from tests.wheels import write_needy
from toolrunner.plugins.instance import plugin_at
from toolrunner.runner.environments.choice import Choice
from toolrunner.runner.environments.install import Installer
from toolrunner.runner.environments.prune import Pruned
from toolrunner.runner.settings.settings import Settings
from toolrunner.sandbox.interpreter import held


def prune(state: Path, *plugins: Path, with_cache: bool = False) -> Pruned:
    """Prune as if these were all plugins that are known."""
    with Installer(Settings(state=state)) as installer:
        known = [plugin_at(path, "a test") for path in plugins]
        return installer.prune(known, with_cache=with_cache)


def test_what_no_plugin_needs_is_removed(
    install: Install, find: Find, tmp_path: Path, state: Path
) -> None:
    """With what named it; what is needed stays."""
    old = write_needy(tmp_path, "beta<2", name="old")
    new = write_needy(tmp_path, "beta>=2", name="new")
    installed = install(old)
    assert installed is not None
    install(new)
    pruned = prune(state, new)
    assert pruned.removed == (installed.environment.digest,)
    assert pruned.bytes > 1000
    assert pruned.plugins == (str(old),)
    assert not installed.environment.folder.exists()
    assert find(old) is None
    assert find(new) is not None
    assert len(list((state / "environments/wanted").glob("*.json"))) == 1
    assert list((state / "environments/building").iterdir()) == []
    assert prune(state, new).removed == ()


def test_what_is_held_stays(install: Install, find: Find, tmp_path: Path, state: Path) -> None:
    """Until it is let go."""
    plugin = write_needy(tmp_path, "alpha")
    installed = install(plugin)
    assert installed is not None
    environment = installed.environment
    interpreter = Choice("own", environment).interpreter()
    with held(interpreter):
        pruned = prune(state)
        assert (pruned.removed, pruned.in_use) == ((), (environment.digest,))
        found = find(plugin)
        assert found == environment, "whoever uses it has to find it for the next call as well"
        again = install(plugin)
        assert again is not None
        assert again.how == "present"
        changed = write_needy(tmp_path, "beta")
        assert prune(state, changed).in_use == (environment.digest,)
    assert prune(state).removed == (environment.digest,)
    with pytest.raises(OSError, match=environment.digest), held(interpreter):
        pass


def test_what_was_fetched_goes_if_that_is_asked_for(
    install: Install, tmp_path: Path, state: Path
) -> None:
    """Not otherwise."""
    plugin = write_needy(tmp_path, "alpha")
    install(plugin)
    kept = state / "environments/uv"
    (kept / "fetched").write_bytes(b"1" * 1_000_000)
    before = len(list(kept.rglob("*")))
    prune(state, plugin)
    assert len(list(kept.rglob("*"))) == before
    pruned = prune(state, plugin, with_cache=True)
    assert pruned.cache_bytes >= 1_000_000
    assert not kept.exists()
