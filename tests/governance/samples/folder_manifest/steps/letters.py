"""A step of the plugin beside it."""

from collections import Counter


def most_common(text, most):
    return dict(Counter(text).most_common(most))
