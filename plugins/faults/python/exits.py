"""Leaves by sys.exit, in all its forms."""

import sys

VARIANTS = {
    "sys.exit()": lambda: sys.exit(),
    "sys.exit(0)": lambda: sys.exit(0),
    "sys.exit with words": lambda: sys.exit("words"),
    "sys.exit(3)": lambda: sys.exit(3),
    "sys.exit of an object": lambda: sys.exit(object()),
}


def run(payload):
    VARIANTS[payload["variant"]]()
