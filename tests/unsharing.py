"""Starts programs in namespaces of their own, for tests of hosts that lack something."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

REFUSED = {"mount": "CLONE_NEWNS", "net": "CLONE_NEWNET"}


def unshared(kind: str) -> tuple[str, ...]:
    """Return what starts a program in a namespace of its own that it may change: "mount", "net".

    Root stays the root it is, and an ordinary user the user it is: neither may be a root that has
    no other user to be, since no call is taken from that.
    """
    own_user = ("--user", "--map-current-user", "--keep-caps") if os.geteuid() != 0 else ()
    prefix = ("unshare", *own_user, f"--{kind}")
    if shutil.which("unshare") is None:
        pytest.fail("unshare is missing (on Debian: apt-get install util-linux)")
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip(
            f"this kernel gives this user no {kind} namespaces ({REFUSED[kind]} is refused)"
        )
    return prefix
