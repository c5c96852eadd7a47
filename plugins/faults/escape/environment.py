"""Looks for the host's environment in its own."""

import os

from hostile import found, tried

EXPECTED = {"PATH", "HOME", "TMPDIR", "LANG", "LC_CTYPE"}
# What keeps libraries quiet, and is the same on every host.
QUIET = ("THREADS", "MALLOC_CONF", "TELEMETRY", "TRACK", "PARALLELISM", "CACHE_DIR", "EAGER_COMMIT")


def run(payload):
    secret = payload["secret"][::-1]
    others = [name for name in os.environ if name not in EXPECTED]
    others = [name for name in others if not any(word in name for word in QUIET)]
    return tried(
        secret=lambda: found([name for name, value in os.environ.items() if secret in value]),
        variables=lambda: found(others),
        home=lambda: found({os.environ["HOME"], os.environ["TMPDIR"]} - {os.getcwd()}),
    )
