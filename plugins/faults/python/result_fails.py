"""Returns a dictionary that fails while it is read."""


class Result(dict):
    def items(self):
        raise LookupError("in items")


def run(payload):
    return Result(a=1)
