"""Returns what strict JSON cannot carry."""

import math


class Itself:
    def model_dump(self):
        return Itself()


def cycle():
    items = []
    items.append(items)
    return {"x": items}


def nested():
    value = {}
    for _ in range(100_000):
        value = {"x": value}
    return value


VARIANTS = {
    "NaN": lambda: {"x": math.nan},
    "infinite": lambda: {"x": math.inf},
    "a cycle": cycle,
    "leads to itself": lambda: {"x": Itself()},
    "nested 100,000 deep": nested,
    "a key that is no string": lambda: {1: 2},
    "keys that become one": lambda: {"x": {1: 2, "1": 3}},
    "a lone surrogate": lambda: {"x": "\ud800"},
    "a lone surrogate as a key": lambda: {"\ud800": 1},
    "an object": lambda: {"x": object()},
    "a function": lambda: {"x": len},
    "a number of 10,000 digits": lambda: {"x": 10**10_000},
    "a list": lambda: [],
    "None": lambda: None,
    "text": lambda: "{}",
}


def run(payload):
    return VARIANTS[payload["variant"]]()
