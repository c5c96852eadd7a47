# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "children"
# version = "1.0.0"
# description = "Waits until it has no children left"
# input = "json"
# limits = { wall_seconds = 10 }
# ///
"""Waits until it has no children left."""

import os


def run(payload):
    if os.fork() == 0:
        os._exit(0)
    children = 0
    try:
        while os.wait():
            children += 1
    except ChildProcessError:
        return {"children": children}
