"""Calls itself without an end, after the interpreter's own bound is gone."""

import sys

LIMITS = {"wall_seconds": 8, "memory_mb": 128, "cpu_seconds": 0.6}


def deeper():
    return [deeper() for _ in "1"]


def run(payload):
    sys.setrecursionlimit(10**9)
    return {"deep": deeper()}
