"""Reads, writes to and signals the warden and the zygote of its box."""

import os
import signal

from hostile import libc, tried

# In a pid namespace of its own a box begins with these. Elsewhere its parent is the warden.
NUMBERS = (1, 2)
FILES = ("mem", "environ", "maps", "auxv", "stack", "root", "cwd", "exe", "fd/0", "map_files")
WRITABLE = ("mem", "comm", "oom_score_adj", "clear_refs", "coredump_filter", "timerslack_ns")


def supervisors():
    found = {os.getppid()} - {0}
    if os.getppid() == 1:
        # Signalled or not, that of a box in the host's own namespace is not among these.
        found |= set(NUMBERS)
    return sorted(found - {os.getpid()})


def any_of(works):
    """Do what can be done of it; fail where nothing could be."""
    done = 0
    for work in works:
        try:
            work()
            done += 1
        except OSError:
            continue
    if not done:
        raise PermissionError
    return done


def opened(number, name, flags):
    path = f"/proc/{number}/{name}"
    os.close(os.open(path, flags))


def run(payload):
    pids = supervisors()
    # Without -1: that says yes to whoever is allowed to reach nobody.
    with_groups = [*pids, *(-pid for pid in pids if pid > 1)]
    return tried(
        read=lambda: any_of(
            lambda p=p, f=f: opened(p, f, os.O_RDONLY) for p in pids for f in FILES
        ),
        write=lambda: any_of(
            lambda p=p, f=f: opened(p, f, os.O_WRONLY) for p in pids for f in WRITABLE
        ),
        signal=lambda: any_of(lambda p=p: os.kill(p, signal.SIGCONT) for p in with_groups),
        thread=lambda: any_of(lambda p=p: thread(p) for p in pids),
        by_descriptor=lambda: any_of(
            lambda p=p: signal.pidfd_send_signal(os.pidfd_open(p), signal.SIGCONT) for p in pids
        ),
    )


def thread(number):
    """Signal the first thread of a process."""
    if libc.tgkill(number, number, signal.SIGCONT) < 0:
        raise PermissionError
