"""What values of results become, and what is said of those that have no JSON form.

Here without a box: ``tests/phase_12`` has the same in boxes, ``tests/libraries`` the tables.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import io
import json
import os
import pathlib
import re
import tempfile
import types
import typing
import uuid
from collections.abc import Callable
from typing import IO, Any

import numpy
import pydantic
import pydantic.v1
import pytest
from PIL import Image

from toolrunner.sandbox.inside.formless import NotJsonError
from toolrunner.sandbox.inside.jsonable import encode


class Colour(enum.Enum):
    """One value that has a form, and one that has none."""

    RED = "red"
    NONE = fractions.Fraction(1, 2)


class Level(enum.IntFlag):
    """An enum whose values are numbers."""

    LOW, HIGH = 1, 2


@dataclasses.dataclass(slots=True)
class Place:
    """With what is no field of its objects."""

    name: str
    at: datetime.datetime
    scale: dataclasses.InitVar[int]
    unit: typing.ClassVar[str] = "m"


class Pair(typing.NamedTuple):
    """A tuple with names."""

    left: int
    right: Any


class Attribute:
    """As attrs describes one."""

    def __init__(self, name: str) -> None:
        self.name = name


class WithAttrs:
    """As attrs makes one."""

    __attrs_attrs__ = (Attribute("a"), Attribute("_b"))

    def __init__(self) -> None:
        self.a, self._b = 1, {2}


class Struct:
    """As msgspec makes one."""

    __struct_fields__ = ("a",)
    a = 1


def itself() -> list[object]:
    """Return a list that contains itself."""
    value: list[object] = []
    value.append(value)
    return value


class Model(pydantic.BaseModel):
    """Of pydantic 2."""

    price: decimal.Decimal
    path: pathlib.Path


class Numbers(pydantic.RootModel[list[int]]):
    """A model that is a list."""


class OldModel(pydantic.v1.BaseModel):
    """Of pydantic 1."""

    path: pathlib.Path


class OldNumbers(pydantic.v1.BaseModel):
    """A model that is a list, of pydantic 1."""

    __root__: list[int]


def encoded(value: object) -> Any:
    """Return what a caller gets for a value in a result."""
    return json.loads(encode({"x": value}))["x"]


def refusal(value: object) -> str:
    """Return what is said of a value in a result."""
    with pytest.raises(NotJsonError) as caught:
        encode({"x": value})
    return str(caught.value)


MOMENT = datetime.datetime(2026, 1, 31, 12, 30, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Colour.RED, "red"),
        (Level.LOW | Level.HIGH, 3),
        (MOMENT, "2026-01-31T12:30:00+00:00"),
        (MOMENT.date(), "2026-01-31"),
        (MOMENT.time(), "12:30:00"),
        (datetime.UTC, "UTC"),
        (datetime.timedelta(days=1, hours=2, microseconds=1500), "P1DT2H0M0.0015S"),
        (datetime.timedelta(seconds=-5), "-P0DT0H0M5S"),
        (Place("a", MOMENT, 1), {"name": "a", "at": "2026-01-31T12:30:00+00:00"}),
        (Pair(1, Pair(2, None)), {"left": 1, "right": {"left": 2, "right": None}}),
        (WithAttrs(), {"a": 1, "_b": [2]}),
        (Struct(), {"a": 1}),
        (
            Model(price=decimal.Decimal("2.50"), path=pathlib.Path("a/b")),
            {"price": "2.50", "path": "a/b"},
        ),
        (Numbers([1, 2]), [1, 2]),
        (OldModel(path=pathlib.Path("a/b")), {"path": "a/b"}),
        (OldNumbers(__root__=[1, 2]), [1, 2]),
        (pathlib.Path("a/b"), "a/b"),
        ({10, 9, 2.5}, [2.5, 9, 10]),
        ({"b", "a"}, ["a", "b"]),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (memoryview(b"abcd")[::2], "YWM="),
    ],
)
def test_what_people_return_has_a_form(value: object, form: object) -> None:
    """Of the standard library, and of those that describe their fields."""
    assert encoded(value) == form


@pytest.mark.parametrize(
    "kind",
    ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "longlong", "ulong"],
)
def test_numpys_integers_of_every_width_are_numbers(kind: str) -> None:
    """The largest of each, alone and in an array."""
    most = numpy.iinfo(kind).max
    number = numpy.dtype(kind).type(most)
    assert encoded(number) == most
    assert encoded(numpy.array([[number]])) == [[most]]


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "longdouble"])
def test_numpys_floats_of_every_width_are_numbers(kind: str) -> None:
    """Alone and in an array; what is no number has its place in the message."""
    number = numpy.dtype(kind).type(0.5)
    assert encoded(number) == 0.5
    assert encoded(numpy.array([[number]])) == [[0.5]]
    assert refusal([numpy.dtype(kind).type("nan")]).startswith("result['x'][0] is nan, which JSON")
    assert refusal(numpy.array([0, "inf"], kind)).startswith("result['x'][1] is inf, which JSON")


def test_a_long_double_is_the_nearest_number_or_is_refused() -> None:
    """With its place, and what to return."""
    third = numpy.longdouble(1) / 3
    assert encoded([third]) == [1 / 3]
    if numpy.finfo("longdouble").max == numpy.finfo("float64").max:
        return  # a machine whose long double is no wider
    message = refusal([numpy.longdouble("1e4000")])
    assert message == (
        "result['x'][0] is 1e+4000, too large for a number of JSON; return str(value)"
    )


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (numpy.bool_(True), True),
        (numpy.str_("a"), "a"),
        (numpy.bytes_(b"raw"), "cmF3"),
        (numpy.datetime64("2026-01-31T12:30", "ns"), "2026-01-31T12:30:00.000000000"),
        (numpy.array(["2026-01-31", "NaT"], "M8[D]"), ["2026-01-31", None]),
        (numpy.timedelta64(90, "s"), "P0DT0H1M30S"),
        (numpy.array([[1, "NaT"]], "m8[ns]"), [["P0DT0H0M0.000000001S", None]]),
        (numpy.timedelta64("NaT", "s"), None),
        (numpy.timedelta64(110_000, "D"), "P110000DT0H0M0S"),
        (numpy.timedelta64(-(2**62), "D"), "-P4611686018427387904DT0H0M0S"),
        (numpy.array([16_000], "m8[W]"), ["P112000DT0H0M0S"]),
        (numpy.timedelta64(3, ("s", 25)), "P0DT0H1M15S"),
        (numpy.timedelta64(1500, "ps"), "P0DT0H0M0.0000000015S"),
        (
            numpy.array([(110_000,)], [("t", "m8[D]")]),
            {"columns": ["t"], "rows": [["P110000DT0H0M0S"]]},
        ),
        (numpy.ma.array([1, 2], "m8[D]", mask=[True, False]), [None, "P2DT0H0M0S"]),
        (numpy.ma.array(1, "m8[D]", mask=True), None),
        (numpy.ma.array([1, 2], mask=[False, True]), [1, None]),
        (numpy.array([(1, "a")], [("n", "i4"), ("s", "U1")])[0], {"n": 1, "s": "a"}),
        (
            numpy.array([(1, "a"), (2, "b")], [("n", "i4"), ("s", "U1")]),
            {"columns": ["n", "s"], "rows": [[1, "a"], [2, "b"]]},
        ),
        (numpy.array([(1,)], [("n", [("m", "i4")])]), {"columns": ["n"], "rows": [[{"m": 1}]]}),
        (numpy.array([{"a": numpy.int8(1)}], object), [{"a": 1}]),
        (numpy.array(5), 5),
    ],
)
def test_whatever_else_numpy_has_keeps_its_meaning(value: object, form: object) -> None:
    """Times are no counts of nanoseconds, however long they are, and names of fields stay."""
    assert encoded(value) == form


def generator() -> Any:
    """Return something that can be read once."""
    yield 1


FROM_ITS_BEGINNING = "return what is in it: value.seek(0), and then value.read()"
FORMLESS: list[tuple[object, str]] = [
    (decimal.Decimal("NaN"), "is Decimal('NaN'), which is no number; return None or a string"),
    (
        fractions.Fraction(1, 3),
        "has no JSON form; return float(value), or str(value) to keep it exact",
    ),
    (Colour.NONE, "is of type fractions.Fraction, which has no JSON form; return float(value)"),
    (1j, "is of type complex, which has no JSON form; return its parts, such as [value.real"),
    (numpy.complex64(1), "is of type numpy.complex64, which has no JSON form; return its parts"),
    (numpy.clongdouble(1), "is of type numpy.clongdouble, which has no JSON form; return its"),
    (numpy.timedelta64(5, "M"), "is a numpy.timedelta64 of the unit 'M', which is no certain"),
    (
        numpy.array([5, "NaT"], "m8[Y]"),
        "is a numpy.timedelta64 of the unit 'Y', which is no certain",
    ),
    (generator(), "is of type generator, which has no JSON form; return list(value)"),
    (map(str, [1]), "is of type map, which has no JSON form; return list(value)"),
    ({}.keys(), "is of type dict_keys, which has no JSON form; return list(value)"),
    (
        collections.ChainMap(),
        "is of type collections.ChainMap, which has no JSON form; return dict",
    ),
    (generator, "is of type function, which has no JSON form; it was not called: write its"),
    ("".upper, "is of type builtin_function_or_method, which has no JSON form; it was not"),
    (Colour, "return an object of that class, or its name as a string"),
    (asyncio, "is of type module, which has no JSON form; return what it has"),
    (ValueError("x"), "is of type ValueError, which has no JSON form; raise it, or return str"),
    (re.match("a", "a"), "is of type re.Match, which has no JSON form; return value.group()"),
    (Image.new("RGB", (1, 1)), "save it to an io.BytesIO, and return what that holds"),
    (pydantic.SecretStr("x"), "which has no JSON form; return value.get_secret_value()"),
    (..., "is of type ellipsis, which has no JSON form; write a value in place of the three"),
    (object(), "has no JSON form; return dict, list, str, numbers, bool or None"),
    ({1: 2}, "has the key 1 of type int; keys of JSON objects are strings: write str(key)"),
    ("\ud800", "has a lone surrogate ('\\ud800') in a string; return value.encode("),
    (10**5000, "has no JSON form: it has more than 4300 digits; return hex(value), which int("),
]


@pytest.mark.parametrize(("value", "message"), FORMLESS, ids=range(len(FORMLESS)))
def test_what_has_no_form_is_named_with_its_place(value: object, message: str) -> None:
    """And with what to return instead."""
    for where, given in (("['x']", value), ("['x'][1]", [0, value])):
        found = refusal(given)
        assert found.startswith(f"result{where} "), found
        assert message in found


@pytest.mark.parametrize(
    ("make", "instead"),
    [
        (io.StringIO, "return what is in it, value.getvalue()"),
        (lambda: io.BytesIO(b"x"), "return what is in it, value.getvalue()"),
        (lambda: open(__file__), "return what is in it, value.read()"),  # noqa: SIM115
        (lambda: open(os.devnull, "w"), "close it, and return Path(value.name)"),  # noqa: SIM115
        (lambda: open(os.devnull, "r+b"), "close it, and return Path(value.name)"),  # noqa: SIM115
        (tempfile.TemporaryFile, FROM_ITS_BEGINNING),
        (tempfile.NamedTemporaryFile, FROM_ITS_BEGINNING),
        (tempfile.SpooledTemporaryFile, FROM_ITS_BEGINNING),
    ],
)
def test_an_open_file_is_told_how_its_content_is_returned(
    make: Callable[[], IO[Any]], instead: str
) -> None:
    """All of it: what has just been written is behind where ``read`` begins."""
    with make() as file:
        assert refusal(file).endswith(f"has no JSON form; {instead}")
    assert refusal(file).endswith(f"has no JSON form; {instead}")  # and once it is closed


def test_what_has_no_end_is_told_with_what_to_return() -> None:
    """A list that holds itself, and one in one in one."""
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]
    words = "contains itself; leave that out, or return what names it, such as its key"
    assert refusal(itself()) == f"result['x'][0] {words}"
    assert refusal(deep).endswith("100 deep; return it as a flat list, with the depth of each item")


def test_a_place_is_told_however_deep_it_is() -> None:
    """Its beginning and its end, so that there is room for the rest."""
    value: object = object()
    for number in range(90):
        value = {"a long name of a key" + str(number): value}
    message = refusal(value)
    assert message.startswith("result['x']['a long name of a key89']")
    assert "…" in message
    assert "['a long name of a key0'] is of type object, which has no JSON form" in message


class Failing:
    """Fails when it is taken apart, in one of many ways."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def model_dump(self) -> object:
        """Fail."""
        raise self.error


class Endless:
    """Never comes down to plain values."""

    def model_dump(self) -> object:
        """Return another one."""
        return Endless()


class LyingType(type):
    """A type that answers nothing that it is asked."""

    def __getattr__(cls, name: str) -> object:
        raise ValueError(name)


class Lying(metaclass=LyingType):
    """What has such a type."""

    @property  # type: ignore[misc]  # what it lies about
    def __class__(self) -> type:
        raise ValueError("no class")

    def __repr__(self) -> str:
        raise ValueError("no repr")

    def __hash__(self) -> int:
        return 1


class Items(dict[str, int]):
    """A dict that cannot be read."""

    def items(self) -> Any:
        """Fail."""
        raise ValueError("no items")


class Twice(str):
    """Another key than the string that it is."""

    __slots__ = ()

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return self is other


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Failing(ValueError("odd")),
            "Failing, which could not be turned into JSON (ValueError: odd); return dict, list",
        ),
        (lambda: Failing(RecursionError()), "result['x'] never comes down to plain JSON values"),
        (Endless, "result['x'] never comes down to plain JSON values"),
        (Lying, "could not be turned into JSON (ValueError: no class); return dict"),
        (lambda: {Lying(): 1}, "could not be turned into JSON (ValueError: no class); return dict"),
        (lambda: Items(a=1), "could not be turned into JSON (ValueError: no items); return dict"),
        (lambda: {"a": 1, Twice("a"): 2}, "result['x'] has the key 'a' twice"),
    ],
)
def test_a_value_whose_own_code_fails_is_named_as_well(
    make: Callable[[], object], message: str
) -> None:
    """It is never an error of ours."""
    assert message in refusal(make())


@pytest.mark.parametrize("name", [b"a", None, 1.5, "cyclic"])
@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_a_table_whose_columns_have_no_names_is_named(library: str, name: object) -> None:
    """Not by the libraries themselves, but by what says that it is one of them."""
    if name == "cyclic":
        cyclic: list[object] = []
        cyclic.append(cyclic)
        name = cyclic
    fields = {"columns": [name], "height": 0, "num_rows": 0, "rename_columns": None}
    kind = "DataFrame" if library == "polars" else "Table"
    table = type(kind, (), {**fields, "__module__": library})()
    table.schema = types.SimpleNamespace(names=[name])
    if library == "polars":
        type(table).__getitem__ = lambda *_: types.SimpleNamespace(dtype="", to_list=list)
    else:
        table.columns = [types.SimpleNamespace(to_pylist=list)]
    assert refusal(table).startswith("result['x'] ")


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left"), SystemExit(1)])
def test_what_a_limit_is_behind_passes(error: BaseException) -> None:
    """So that the call ends as one that met it."""
    with pytest.raises(type(error)):
        encode({"x": Failing(error)})


def test_a_run_that_yields_is_told_to_return() -> None:
    """Its generator as a list would be no object either."""
    with pytest.raises(NotJsonError, match="write return instead of yield in run"):
        encode(generator())


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "None (perhaps a return is missing)"),
        ("text", "a value of type str"),
        ((1, 2), "a value of type tuple, in JSON a list"),
        (b"raw", "a value of type bytes, in JSON a str"),
        (numpy.float64(1), "a value of type numpy.float64, in JSON a float"),
        (numpy.arange(2), "a value of type numpy.ndarray, in JSON a list"),
    ],
)
def test_a_result_that_is_no_object_is_called_what_it_is(value: object, what: str) -> None:
    """And not what would become of it."""
    with pytest.raises(NotJsonError) as caught:
        encode(value)
    assert str(caught.value) == (
        f'run returned {what}; it has to return a dict, such as {{"value": …}}'
    )


def test_whoever_attaches_is_asked_first() -> None:
    """About objects alone, with their places."""
    asked: list[tuple[object, str]] = []
    picture = Image.new("RGB", (1, 1))

    def attach(value: object, place: str) -> object:
        asked.append((value, place))
        return {"artifact": "a"} if value is picture else None

    body = encode({"a": [1, {"b": picture}], "c": pathlib.Path("d")}, attach)
    assert json.loads(body) == {"a": [1, {"b": {"artifact": "a"}}], "c": "d"}
    assert asked == [(picture, "result['a'][1]['b']"), (pathlib.Path("d"), "result['c']")]
