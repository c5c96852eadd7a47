"""A JSON value against a plugin's schema, in bounded time.

``validation`` calls it, for what goes in and what comes out. The schema is an author's, the value a
caller's or the plugin's, and both are read in the trusted process: nothing is fetched, no pattern
that could backtrack for long is matched, and the whole check has an allowance of processor time.
"""

import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, NoReturn, cast

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from toolrunner.runner.errors import ErrorType, GovernedError, cut_end
from toolrunner.runner.payloads.json_values import quote
from toolrunner.runner.payloads.patterns import MAX_BYTES, MAX_STEPS, worst_cost
from toolrunner.runner.payloads.told import briefly_told

MAX_SECONDS = 10.0
MAX_PATTERN_STEPS = 60 * MAX_STEPS  # for all strings and keys of a value
_SHORT = 64  # characters; a pattern that is too slow for so few is the author's fault
_ERRORS_LOOKED_AT = 20
_SHOWN_BYTES = 500
_KEYS_NAMED = 5
# All of them are sorted in one step where they are not allowed; of items, each is looked for
# among all that are.
_MOST_UNEVALUATED = {"unevaluatedProperties": 20_000, "unevaluatedItems": 2_000}

_Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


UNFIT = "the result does not fit its output_schema"


class _UnusableError(Exception):
    """A schema that nothing can be held against; the message says why."""


class _WithdrawnError(Exception):
    """Nobody waits for the check any more."""


class _TooMuchError(Exception):
    """A value that is too much for a schema: how so, and what would be less of it."""

    def __init__(self, before: str, after: str, less: str) -> None:
        """``before`` and ``after`` are said around the schema's name."""
        super().__init__(before, after)
        self.before, self.after, self.less = before, after, less


def check_schema(
    payload: dict[str, Any],
    schema: Mapping[str, Any],
    is_withdrawn: Callable[[], bool],
) -> None:
    """Raise ``GovernedError`` unless the payload is what the ``input_schema`` describes.

    A check that ``is_withdrawn`` ends, whatever it would have found.
    """
    try:
        problem = _problem("payload", payload, schema, is_withdrawn)
    except _WithdrawnError:
        return
    except _UnusableError as error:
        message = f"the plugin's input_schema cannot be used: {error}"
        raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message) from None
    except _TooMuchError as error:
        problem = f"{error.before} the plugin's input_schema{error.after}; send {error.less}"
    if problem:
        raise GovernedError(ErrorType.VALIDATION_ERROR, problem)


def check_output(result: dict[str, Any], schema: Mapping[str, Any]) -> None:
    """Raise ``GovernedError`` unless a result is what the ``output_schema`` describes."""
    try:
        problem = _problem("result", result, schema)
    except _UnusableError as error:
        problem = f"that cannot be used: {error}"
    except _TooMuchError as error:
        problem = f"{error.before} the schema{error.after}; return {error.less}"
    if problem:
        raise GovernedError(ErrorType.OUTPUT_VALIDATION_ERROR, f"{UNFIT}: {problem}")


def _problem(
    what: str,
    value: dict[str, Any],
    schema: Mapping[str, Any],
    is_withdrawn: Callable[[], bool] = lambda: False,
) -> str:
    """Return what does not fit, beginning with its place, or ""."""
    try:
        validator = _validator_class(json.dumps(schema, sort_keys=True))
        errors = validator(
            schema, registry=Registry(), format_checker=_Allowance(MAX_SECONDS, what, is_withdrawn)
        ).iter_errors(briefly_told(value))
        worst = best_match(islice(errors, _ERRORS_LOOKED_AT))
    except (_UnusableError, _TooMuchError, _WithdrawnError):
        raise
    except OverflowError:  # of all keywords one divides
        before = "a number is too large to be checked against multipleOf of"
        raise _TooMuchError(before, "", "a smaller one") from None
    except RecursionError:
        _refuse("it refers to itself without end")
    except Unresolvable as error:
        _refuse(f"it refers to {error.ref}, which is not in it")
    except SchemaError as error:
        _refuse(error.message)
    except Exception as error:  # noqa: BLE001 - a schema that jsonschema's own check let through
        _refuse(f"{type(error).__name__}: {error}")
    if worst is None:
        return ""
    path = "".join(f"[{quote(key)}]" for key in worst.absolute_path)
    return f"{what}{path}: {cut_end(worst.message, _SHOWN_BYTES)}"


def _refuse(why: str) -> NoReturn:
    raise _UnusableError(cut_end(why, _SHOWN_BYTES)) from None


@lru_cache(maxsize=64)
def _validator_class(schema_text: str) -> type[Validator]:
    """Return the validator for a schema that was checked; cached, for that is the slow part."""
    schema = json.loads(schema_text)
    plain = validator_for(schema, default=Draft202012Validator)
    plain.check_schema(schema)
    keywords: dict[str, _Keyword] = {**plain.VALIDATORS, "uniqueItems": _unique_items}
    keywords["additionalProperties"] = _additional(keywords["additionalProperties"])
    guarded = {name: _guarded(name, keyword) for name, keyword in keywords.items()}
    return cast("type[Validator]", extend(plain, guarded))  # type: ignore[no-untyped-call]  # its stub lacks types


class _Allowance(FormatChecker):
    """The processor time left to one check, carried where a validator hands things down.

    It knows no formats: ``format`` stays the annotation that it is by default.
    """

    def __init__(self, seconds: float, what: str, is_withdrawn: Callable[[], bool]) -> None:
        """``what`` is checked, until it ``is_withdrawn``."""
        super().__init__(formats=())
        self._what = what
        self._end = time.thread_time() + seconds
        self._is_withdrawn = is_withdrawn
        self._pattern_steps = 0.0

    def spend(self) -> None:
        """Raise when nothing is left, or nobody waits."""
        if self._is_withdrawn():
            raise _WithdrawnError
        if time.thread_time() > self._end:
            before, after = (
                f"checking the {self._what} against",
                f" took longer than {MAX_SECONDS:g} s",
            )
            raise _TooMuchError(before, after, f"a smaller {self._what}")

    def spend_on_pattern(self, pattern: str, text: str) -> None:
        """Raise if a match would take too long, or too much of it has been done."""
        self._pattern_steps += _steps_of(pattern, text)
        if self._pattern_steps > MAX_PATTERN_STEPS:
            before = f"matching all strings of the {self._what} with the patterns of"
            raise _TooMuchError(before, " takes too long", f"a smaller {self._what}")


def _guarded(name: str, keyword: _Keyword) -> _Keyword:
    def guarded(
        validator: Any,  # noqa: ANN401 - jsonschema's own signature
        value: Any,  # noqa: ANN401
        instance: Any,  # noqa: ANN401
        schema: Any,  # noqa: ANN401
    ) -> Iterator[ValidationError] | None:
        validator.format_checker.spend()
        if name == "pattern" and isinstance(instance, str):
            validator.format_checker.spend_on_pattern(value, instance)
        if name in _KEY_PATTERNS and isinstance(instance, dict):
            for pattern in schema.get("patternProperties", ()):
                for key in instance:
                    validator.format_checker.spend_on_pattern(pattern, key)
        if name in _MOST_UNEVALUATED and isinstance(instance, dict | list):
            _check_number(name, instance)
        return keyword(validator, value, instance, schema)

    return guarded


def _additional(plain: _Keyword) -> _Keyword:
    """The keyword, naming some of what is too much; jsonschema sorts and names all of it."""

    def keyword(
        validator: Any,  # noqa: ANN401 - jsonschema's own signature
        allowed: Any,  # noqa: ANN401
        instance: Any,  # noqa: ANN401
        schema: Any,  # noqa: ANN401
    ) -> Iterator[ValidationError]:
        if allowed is not False or not isinstance(instance, dict):
            yield from plain(validator, allowed, instance, schema) or ()
            return
        patterns = schema.get("patternProperties", {})
        extras = _extras(instance, schema.get("properties", {}), "|".join(patterns))
        found = sorted(islice(extras, _KEYS_NAMED))
        if not found:
            return
        named = ", ".join(map(repr, found))
        named += " and others" if next(extras, None) is not None else ""
        many = len(found) > 1
        if patterns:
            known = ", ".join(map(repr, sorted(patterns)))
            verb = "do" if many else "does"
            yield ValidationError(f"{named} {verb} not match any of the regexes: {known}")
        else:
            verb = "were" if many else "was"
            yield ValidationError(
                f"Additional properties are not allowed ({named} {verb} unexpected)"
            )

    return keyword


def _extras(instance: dict[str, Any], known: Collection[str], pattern: str) -> Iterator[str]:
    for key in instance:
        if key not in known and not (pattern and re.search(pattern, key)):
            yield key


def _check_number(keyword: str, instance: Collection[Any]) -> None:
    most = _MOST_UNEVALUATED[keyword]
    if len(instance) > most:
        what = "an object of {:,} properties" if isinstance(instance, dict) else "a list of {:,}"
        before = f"{what.format(len(instance))} is too large to be checked against {keyword}"
        raise _TooMuchError(f"{before} of", "", f"{most:,} at most")


# additionalProperties and unevaluatedProperties match the keys against patternProperties as well.
_KEY_PATTERNS = frozenset({"patternProperties", "additionalProperties", "unevaluatedProperties"})


def _steps_of(pattern: str, text: str) -> float:
    try:
        steps, held = worst_cost(pattern, len(text))
        if steps <= MAX_STEPS and held <= MAX_BYTES:
            return steps
        steps, held = worst_cost(pattern, _SHORT)
    except re.error as error:
        _refuse(f"{quote(pattern)} is not a pattern: {error}")
    if steps > MAX_STEPS or held > MAX_BYTES:
        _refuse(
            f"the pattern {quote(pattern)} may take exponential time; write it without repeats "
            "inside repeats and back references, or check this in run and raise InvalidInput"
        )
    before = f"a string of {len(text)} characters is too long to be checked against the pattern"
    raise _TooMuchError(f"{before} {quote(pattern)} of", "", "a shorter one")


def _unique_items(
    _validator: object, unique: object, instance: object, _schema: object
) -> Iterator[ValidationError]:
    """The keyword in linear time; jsonschema compares each with each where it cannot sort."""
    if not unique or not isinstance(instance, list):
        return
    texts = {json.dumps(_plain_numbers(item), sort_keys=True) for item in instance}
    if len(texts) < len(instance):
        yield ValidationError("has items that occur more than once")


def _plain_numbers(value: object) -> object:
    """Return the value with whole floats as ints: to JSON Schema 1 and 1.0 are one number."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return [_plain_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain_numbers(item) for key, item in value.items()}
    return value
