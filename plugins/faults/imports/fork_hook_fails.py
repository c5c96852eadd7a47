"""Leaves a hook that fails before every fork."""

import os

os.register_at_fork(before=lambda: 1 / 0)


def run(payload):
    return {"ran": True}
