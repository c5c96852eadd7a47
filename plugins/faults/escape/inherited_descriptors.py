"""Looks for descriptors that are none of its own."""

import fcntl

from hostile import found, tried

OWN = {0, 1, 2, 3, 4}


def is_open(number):
    try:
        fcntl.fcntl(number, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def run(payload):
    return tried(descriptors=lambda: found(set(filter(is_open, range(256))) - OWN))
