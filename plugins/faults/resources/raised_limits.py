"""Raises the limits that the kernel holds for it."""

import resource

from hostile import tried

NAMES = ("RLIMIT_DATA", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC")


def run(payload):
    numbers = {name: getattr(resource, name) for name in (*NAMES, "RLIMIT_CORE")}
    return tried(
        **{
            name: lambda n=n: resource.setrlimit(n, (resource.RLIM_INFINITY,) * 2)
            for name, n in numbers.items()
        }
    )
