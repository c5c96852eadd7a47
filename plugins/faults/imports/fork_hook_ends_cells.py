"""Leaves a hook that ends every process that is forked from it."""

import os

os.register_at_fork(after_in_child=lambda: os._exit(7))


def run(payload):
    return {"ran": True}
