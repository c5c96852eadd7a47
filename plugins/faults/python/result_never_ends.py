"""Returns a list that has no end."""

LIMITS = {"wall_seconds": 8, "memory_mb": 128, "cpu_seconds": 0.6}


class Result(list):
    def __iter__(self):
        while True:
            yield 0


def run(payload):
    return {"x": Result()}
