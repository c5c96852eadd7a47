"""Functions that their host collects by a decorator, and the one that is not."""

import atexit
import functools

from acme.registry import register, registry


@register("reverse")
def reverse(text: str) -> str:
    return text[::-1]


@registry.plugin(name="double")
def double(text: str) -> str:
    return text * 2


@functools.lru_cache
def helper(text):
    return text


@atexit.register
def done():
    pass
