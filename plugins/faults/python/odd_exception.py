"""Raises an exception whose own methods fail."""


class Text(Exception):
    def __str__(self):
        raise ValueError


class NoText(Exception):
    def __str__(self):
        return 7


class Exits(Exception):
    def __str__(self):
        raise SystemExit


class Representation(Exception):
    def __repr__(self):
        raise ValueError


class Reduction(Exception):
    def __reduce__(self):
        raise ValueError


class Attributes(Exception):
    def __getattribute__(self, name):
        raise ValueError


class Nameless(type):
    __name__ = property(lambda cls: 1 / 0)


class Name(Exception, metaclass=Nameless):
    pass


class Number(OSError):
    errno = property(lambda self: 1 / 0)


class Endless(Exception):
    def __str__(self):
        return "x" * 10_000_000


class Cause(Exception):
    __cause__ = property(lambda self: 1 / 0)


VARIANTS = {
    "str fails": Text,
    "str is a number": NoText,
    "str exits": Exits,
    "repr fails": Representation,
    "reduce fails": Reduction,
    "every attribute fails": Attributes,
    "class name fails": Name,
    "errno fails": Number,
    "str is ten megabytes": Endless,
    "cause fails": Cause,
}


def run(payload):
    raise VARIANTS[payload["variant"]]
