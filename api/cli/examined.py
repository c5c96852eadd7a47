"""What an examined plugin's process tells of itself: read strictly, bounded, and made harmless.

A plugin shares that process, so these are its words: good for advice, and for nothing else.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from toolrunner.runner.errors import one_line

_MOST_MS = 1e7
_MOST = 1_000_000

_Name = Annotated[str, Field(max_length=80), AfterValidator(one_line)]
_Milliseconds = Annotated[float, Field(ge=0, le=_MOST_MS, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0, le=_MOST)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Package(_Model):
    """A package with the modules of it that were imported, and the time without others in it."""

    name: _Name
    modules: _Count
    ms: _Milliseconds


class Imported(_Model):
    """What was imported in one go; ``packages`` are those that took longest."""

    modules: _Count
    ms: _Milliseconds
    packages: Annotated[tuple[Package, ...], Field(max_length=6, strict=False)]


class Left(_Model):
    """Something that is there since the import; ``by``: the package that has made it."""

    kind: Literal["thread", "descriptor", "file"]
    name: _Name
    by: _Name


class Examined(_Model):
    """What a load and two calls in a process of their own took, and what the load has left.

    ``libraries``: the modules beyond Python's that the plugin's own code has imported.
    """

    load_ms: _Milliseconds
    loading: Imported
    warm_up_ms: _Milliseconds
    has_warm_up: bool
    left: Annotated[tuple[Left, ...], Field(max_length=12, strict=False)]
    first_ms: _Milliseconds
    second_ms: _Milliseconds
    calling: Imported
    libraries: Annotated[tuple[_Name, ...], Field(max_length=40, strict=False)]


def examined(result: object) -> Examined | None:
    """Return what a result says, ``None`` for one that says it in no way that is known."""
    try:
        return Examined.model_validate(result)
    except ValidationError:
        return None
