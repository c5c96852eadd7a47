"""Replaces a function of os that whoever runs it may need."""

import os

VARIANTS = {"write": lambda *_: 1 / 0, "_exit": lambda *_: None, "getpid": lambda: 1}


def run(payload):
    name = payload["variant"]
    setattr(os, name, VARIANTS[name])
    return {}
