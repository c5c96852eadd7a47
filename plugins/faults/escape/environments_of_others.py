"""Looks for secrets in the environments and arguments of other processes."""

import os

from hostile import found, tried


def readable(payload):
    names = {str(number) for number in payload["pids"]}
    try:
        names.update(filter(str.isdigit, os.listdir("/proc")))
    except OSError:
        pass
    for name in names:
        for file in ("environ", "cmdline"):
            try:
                yield open(f"/proc/{name}/{file}", "rb").read()
            except OSError:
                continue


def run(payload):
    secret = payload["secret"][::-1].encode()
    return tried(secret=lambda: found([True for data in readable(payload) if secret in data]))
