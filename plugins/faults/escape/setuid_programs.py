"""Runs programs that give rights to whoever starts them, and looks for rights of its own."""

import shutil
import subprocess

from hostile import found, libc, tried

PR_GET_NO_NEW_PRIVS = 39
PROGRAMS = ("su", "mount", "passwd", "newgrp")


def capabilities():
    try:
        status = open("/proc/self/status").read()
    except OSError:
        return []  # no /proc: what no_new_privs says is enough
    lines = [line.split() for line in status.splitlines() if line.startswith("Cap")]
    return [line for line in lines if int(line[1], 16)]


def run(payload):
    for path in filter(None, map(shutil.which, PROGRAMS)):
        quiet = subprocess.DEVNULL
        subprocess.run([path, "--help"], stdin=quiet, stdout=quiet, stderr=quiet, check=False)
    return tried(
        setuid=lambda: found(not libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)),
        capabilities=lambda: found(capabilities()),
    )
