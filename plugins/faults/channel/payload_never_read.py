"""Never reads its payload of five megabytes: it says that it is loaded while it still loads."""

import time

from hostile import LONG, frame, send

LIMITS = {"wall_seconds": 1, "load_seconds": 6}
BALLAST = 5_000_000

send(frame(b"l"))
time.sleep(LONG)


def run(payload):
    return {}
