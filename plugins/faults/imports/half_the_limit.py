"""Takes half of the time that its import may take."""

import time

LIMITS = {"load_seconds": 1}

time.sleep(0.5)


def run(payload):
    return {"ran": True}
