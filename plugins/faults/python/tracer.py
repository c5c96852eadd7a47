"""Sets a tracer and a profiler, which are called for whatever runs next."""

import sys


def run(payload):
    sys.settrace(lambda *_: None)
    sys.setprofile(lambda *_: None)
    return {}
