"""Makes itself the one whom orphans are given to, and leaves one."""

import time

from hostile import LONG, child, libc

PR_SET_CHILD_SUBREAPER = 36


def run(payload):
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child(lambda: child(lambda: time.sleep(LONG)))
    return {}
