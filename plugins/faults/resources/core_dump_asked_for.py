"""Raises its limit on core dumps, then ends in a way that leaves one."""

import os
import resource

from hostile import tried


def run(payload):
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    answer = tried(core=lambda: resource.setrlimit(resource.RLIMIT_CORE, unlimited))
    if answer["attempts"]["core"][0] == "denied":
        os.abort()
    return answer
