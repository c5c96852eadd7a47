"""Starts other programs and returns without waiting for them."""

import subprocess

from hostile import LONG


def run(payload):
    for new_session in (False, True):
        try:
            subprocess.Popen(["sleep", str(LONG)], start_new_session=new_session)
        except OSError:
            continue
    return {}
