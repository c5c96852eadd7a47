"""Returns an object that hangs while it is turned into JSON."""

import time

from hostile import LONG

LIMITS = {"wall_seconds": 1, "load_seconds": 1}


class Result:
    def model_dump(self):
        time.sleep(LONG)


def run(payload):
    return {"x": Result()}
