"""The pytest plugin of Toolrunner: authors test their plugins under the real sandbox.

    def test_it_counts(governed):
        assert governed("plugins/counter.py", {"text": "a b"}).result == {"words": 2}

    def test_it_fails_well_when_memory_is_short(governed):
        assert governed("plugins/counter.py", {"text": "a b"}, inject="oom").is_a_limit

Loaded by pytest wherever toolrunner-sandbox is installed (entry point ``pytest11``). It runs the
console script and imports nothing of the rest, so that an author's tests start no slower for it.
"""

from toolrunner.pytest_plugin.fixture import Governed, governed
from toolrunner.pytest_plugin.outcome import GovernedCallError, Outcome

__all__ = ["Governed", "GovernedCallError", "Outcome", "governed"]
