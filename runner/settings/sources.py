"""The layers that settings are read from, each able to tell where a value of its stands.

Called by ``settings``, and by who tells which file is read: the arguments, the environment
(``TOOLRUNNER_*``) and one TOML file.
Values are read here, not judged; but a variable or a text that nobody can read is refused.
"""

import contextlib
import json
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

from platformdirs import user_config_path
from pydantic_settings import BaseSettings

from toolrunner.plugins.errors import suggestion
from toolrunner.plugins.toml_lines import key_lines
from toolrunner.runner.payloads.strict_json import JsonError, loads

PREFIX = "TOOLRUNNER_"
CONFIG_VARIABLE = "TOOLRUNNER_CONFIG"
CONFIG_FILE = "config.toml"
MAX_FILE_BYTES = 1024 * 1024
_NESTED = "__"
_TABLES = frozenset({"caps", "plugin"})
_PATHS = frozenset({"plugins"})

KeyPath = tuple[str, ...]


class SettingsError(ValueError):
    """Settings cannot be used; the message names the file or variable, and what to do."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Values of one source; ``origin`` says in words where a key stands, "" when not here."""

    values: dict[str, Any]
    origin: Callable[[KeyPath], str]


def told(path: Iterable[str]) -> str:
    """Return a key as an operator would write it: ``caps.memory_mb``."""
    return ".".join(path)


def argument_layer(overrides: Mapping[str, object]) -> Layer:
    """Return what a caller or the command line gave; ``None`` means not given."""
    values = {name: value for name, value in overrides.items() if value is not None}
    return Layer(values, lambda path: "argument" if _has(values, path) else "")


def read_layers(model: type[BaseSettings]) -> list[Layer]:
    """Return the environment and the configuration file, the stronger first."""
    return [_environment(model), _file()]


def _has(values: object, path: KeyPath) -> bool:
    """Tell whether a layer gives ``path``, or the whole that it is a part of."""
    for key in path:
        if not isinstance(values, dict):
            return True
        if key not in values:
            return False
        values = values[key]
    return True


# The environment


def _environment(model: type[BaseSettings]) -> Layer:
    values: dict[str, Any] = {}
    variables: dict[KeyPath, str] = {}
    # A whole table first, so that a variable for one key in it wins over it.
    for name in sorted(n for n in os.environ if n.startswith(PREFIX) and n != CONFIG_VARIABLE):
        path = _path_of(name, model)
        _put(values, path, _value_of(name, path, os.environ[name], model))
        variables[path] = name

    def origin(path: KeyPath) -> str:
        for length in range(len(path), 0, -1):
            if path[:length] in variables and _has(values, path):
                return f"environment {variables[path[:length]]}"
        parts = [name for known, name in variables.items() if known[: len(path)] == path]
        return f"environment {', '.join(parts)}" if parts else ""

    return Layer(values, origin)


def _path_of(name: str, model: type[BaseSettings]) -> KeyPath:
    path = tuple(name.removeprefix(PREFIX).lower().split(_NESTED))
    if path[0] not in model.model_fields:
        known = [CONFIG_VARIABLE, *(PREFIX + field.upper() for field in model.model_fields)]
        message = f"environment {name}: unknown variable; {suggestion(name, known)}"
        raise SettingsError(message)
    if len(path) > 1 and path[0] not in _TABLES:
        message = f"environment {name}: {path[0]} has no parts; set {PREFIX}{path[0].upper()}"
        raise SettingsError(message)
    if "" in path:
        message = f"environment {name}: a part of the name is empty; write one key after each __"
        raise SettingsError(message)
    return path


def _value_of(name: str, path: KeyPath, text: str, model: type[BaseSettings]) -> object:
    """Read a variable: a table as JSON, a list as JSON or separated, the rest as it is."""
    separator = ""
    if get_origin(model.model_fields[path[0]].annotation) is tuple:
        separator = os.pathsep if path[0] in _PATHS else ","
    if separator and not text.lstrip().startswith("["):
        parts = text.split(separator)
        if separator == ",":  # a path may begin or end with a blank
            parts = [part.strip() for part in parts]
        return [part for part in parts if part]
    if path[0] in _TABLES and len(path) > 1 and not text.lstrip().startswith(("{", "[", '"')):
        return _plain(text)
    if path[0] in _TABLES or separator:
        return _json(name, text)
    return text


def _plain(text: str) -> object:
    """Return what a bare word in the environment means: a JSON number or word, or a string."""
    try:
        return loads(os.fsencode(text))
    except JsonError:
        return text


def _json(name: str, text: str) -> object:
    try:
        return loads(os.fsencode(text))
    except JsonError as error:
        example = json.dumps({"memory_mb": 256})
        message = f"environment {name}: {error}; write JSON, such as {example}"
        raise SettingsError(message) from None


def _put(values: dict[str, Any], path: KeyPath, value: object) -> None:
    for key in path[:-1]:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            return  # a whole of the wrong type: judged where the settings are
        values = inner
    values[path[-1]] = value


# The file


def settings_files() -> list[Path]:
    """Return where a settings file is or could be: the one that is named, and the default one."""
    named = os.environ.get(CONFIG_VARIABLE)
    files = [Path(named)] if named else []
    with contextlib.suppress(RuntimeError):  # a user without a home
        files.append(_default_file())
    return files


def _default_file() -> Path:
    return user_config_path("toolrunner") / CONFIG_FILE


def settings_file() -> Path | None:
    """Return the configuration file, which need not be there; ``None`` if there can be none."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named == "":
        message = f"environment {CONFIG_VARIABLE}: is empty; name a TOML file, or unset it"
        raise SettingsError(message)
    try:
        return Path(named) if named else _default_file()
    except RuntimeError:  # a user without a home, who cannot have a file in it
        return None


def _file() -> Layer:
    path = settings_file()
    if path is None:
        return Layer({}, lambda _key: "")
    text = _text(path, must_exist=CONFIG_VARIABLE in os.environ)
    try:
        values = tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, and an integer of too many digits
        message = f"{path}: not TOML: {error}"
        raise SettingsError(message) from None
    except RecursionError:
        message = f"{path}: not usable as TOML: nested too deeply"
        raise SettingsError(message) from None
    lines = key_lines(text)

    def origin(key: KeyPath) -> str:
        if not _has(values, key[:1]):
            return ""
        for length in range(len(key), 0, -1):
            if key[:length] in lines and _has(values, key):
                return f"{path} line {lines[key[:length]]}"
        return str(path) if _has(values, key) else ""

    return Layer(values, origin)


def _text(path: Path, *, must_exist: bool) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        if not must_exist:
            return ""
        message = f"{path}: there is no such file; correct {CONFIG_VARIABLE}, or unset it"
        raise SettingsError(message) from None
    except IsADirectoryError:
        message = f"{path}: is a folder; name the TOML file in it"
        raise SettingsError(message) from None
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read: {error}; let this user read it"
        raise SettingsError(message) from None
    if len(data) > MAX_FILE_BYTES:
        message = f"{path}: is larger than {MAX_FILE_BYTES} bytes; name a configuration file"
        raise SettingsError(message)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        message = f"{path}: is not UTF-8 at byte {error.start}; save it as UTF-8"
        raise SettingsError(message) from None
