"""A plugin's manifest: what its author says about it, checked.

Read by discovery and by ``toolrunner plugins check`` from a PEP 723 block or a toolrunner.toml.
Everything wrong is a ManifestError with file, line and key. Plugin code is never run for it.
"""

from __future__ import annotations

import difflib
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from toolrunner.plugins import fields, limit_words
from toolrunner.plugins.errors import KeyPath, ManifestError, NoManifest, dotted, shown, suggestion
from toolrunner.plugins.input_schema import input_schema as checked_schema
from toolrunner.plugins.source import (
    FOLDER_MANIFEST,
    MINIMAL_TOML,
    Source,
    inline_source,
    no_inline_manifest,
    toml_source,
)
from toolrunner.plugins.tools import EXPLAINED, NOT_WITH_TOOLS, field_of, with_the_rest
from toolrunner.sandbox.limits import Limits

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "FOLDER_MANIFEST",
    "IMAGE_TYPES",
    "Manifest",
    "ManifestError",
    "NoManifest",
    "read_inline",
    "read_toml",
]

IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/tiff")

_TABLE = ("tool", "toolrunner")
_TOP_KEYS = {"requires-python": "requires_python", "dependencies": "dependencies"}
_PROBLEMS_SHOWN = 10
# What a line may look like whose value has the wrong type.
_EXAMPLES = {
    "name": '"my-plugin"',
    "accepts": '"image/png"',
    "read": '"/srv/models"',
    "require": '"landlock"',
    "entry": '"main:run"',
    "command": '"node", "main.mjs"',
    "requires_python": '">=3.11"',
    "dependencies": '"numpy>=2"',
    "description": '"Average colour of an image"',
    "error_key": '"error"',
}
# What keys are called elsewhere.
_OTHER_NAMES = {
    "mime_types": "accepts",
    "types": "accepts",
    "schema": "input_schema",
    "summary": "description",
    "main": "entry",
    "entrypoint": "entry",
    "entry_point": "entry",
    "args": "command",
    "requirements": "dependencies, above [tool.toolrunner]",
    "python": "requires-python, above [tool.toolrunner]",
}
_ALIKE = 0.8
_LONGEST_TEXT = 1000
_MOST_TOGETHER = 1024
_LONGEST_WAIT_MS = 1000


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


_Text = Annotated[str, Field(max_length=_LONGEST_TEXT)]
_Line = Annotated[_Text, AfterValidator(fields.one_line)]
_Many = BeforeValidator(_tuple)


class Manifest(BaseModel):
    """The ``[tool.toolrunner]`` table, with PEP 723's ``requires-python`` and ``dependencies``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=False)

    name: Annotated[str, AfterValidator(fields.name)]
    version: Annotated[_Line, Field(max_length=64)] = ""
    description: _Line = ""
    input: Literal["image", "json", "files"] = "image"
    accepts: Annotated[tuple[Annotated[_Text, AfterValidator(fields.mime_type)], ...], _Many] = (
        Field(default_factory=lambda data: IMAGE_TYPES if data.get("input") == "image" else ())
    )
    input_schema: Annotated[dict[str, Any], AfterValidator(checked_schema)] | None = None
    output_schema: Annotated[dict[str, Any], AfterValidator(checked_schema)] | None = None
    error_key: Annotated[
        str, Field(min_length=1, max_length=_LONGEST_TEXT), AfterValidator(fields.one_line)
    ] = ""
    limits: Annotated[Limits, BeforeValidator(fields.limits)] = Limits()
    network: bool = False
    read: Annotated[tuple[Annotated[_Text, AfterValidator(fields.absolute_path)], ...], _Many] = ()
    start: Literal["auto", "warm", "cold", "resident"] = "auto"
    warm_up: bool = False
    batch: Annotated[int, Field(ge=1, le=_MOST_TOGETHER)] = 1
    batch_ms: Annotated[int, Field(ge=0, le=_LONGEST_WAIT_MS)] = 0
    require: Annotated[tuple[Annotated[_Text, AfterValidator(fields.layer)], ...], _Many] = ()
    entry: Annotated[_Text, AfterValidator(fields.entry)] = ""
    environment: Literal["auto", "runner", "own"] = "auto"
    requires_python: Annotated[_Text, AfterValidator(fields.specifier)] = ""
    dependencies: Annotated[
        tuple[Annotated[_Text, AfterValidator(fields.requirement)], ...], _Many
    ] = ()
    command: Annotated[
        tuple[Annotated[_Text, AfterValidator(fields.word)], ...],
        _Many,
        AfterValidator(fields.command),
    ] = ()
    # The last one: each of them is made of what stands before it.
    tools: dict[
        Annotated[str, AfterValidator(fields.tool_name)],
        Annotated[Manifest, BeforeValidator(with_the_rest)],
    ] = Field(default_factory=dict)

    _file: Path | None = PrivateAttr(default=None)

    @property
    def file(self) -> Path | None:
        """The file this was read from; ``None`` for one that was made in Python."""
        return self._file

    @property
    def plugin(self) -> str:
        """The plugin's name; of one of several tools, without the tool's."""
        return self.name.partition(":")[0]

    @property
    def tool(self) -> str:
        """The tool's name in its plugin; "" for a plugin that is none of several."""
        return self.name.partition(":")[2]

    def named(self, name: str) -> Manifest:
        """Return the same of a plugin with another name."""
        renamed = {
            tool: one.model_copy(update={"name": f"{name}:{tool}"})
            for tool, one in self.tools.items()
        }
        return self.model_copy(update={"name": name, "tools": renamed})

    @field_validator("tools", mode="after")
    @classmethod
    def _tools_have_names(
        cls, value: dict[str, Manifest], info: ValidationInfo
    ) -> dict[str, Manifest]:
        for key in NOT_WITH_TOOLS:
            if value and info.data.get(key) not in (None, cls.model_fields[key].default):
                msg = f"{key} is not for a plugin of several tools; remove one of the two"
                raise ValueError(msg)
        plugin = info.data.get("name", "")
        return {
            tool: one.model_copy(update={"name": f"{plugin}:{tool}"}) for tool, one in value.items()
        }

    @field_validator("accepts", mode="after")
    @classmethod
    def _accepts_images_only(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("input") == "json" and value:
            msg = 'is only for input = "image" or "files"; remove one of the two'
            raise ValueError(msg)
        if info.data.get("input") == "image" and not value:
            msg = "must name at least one type; or leave it out to accept the common ones"
            raise ValueError(msg)
        return value

    @field_validator("warm_up", mode="after")
    @classmethod
    def _rehearses_an_example(cls, value: bool, info: ValidationInfo) -> bool:
        schema = info.data.get("input_schema") or {}
        if value and info.data.get("input") == "json" and not schema.get("examples"):
            msg = (
                "has nothing to rehearse with; give input_schema an example: "
                "examples = [{...}], or write a function warm_up()"
            )
            raise ValueError(msg)
        return value

    @field_validator("batch", "batch_ms", mode="after")
    @classmethod
    def _batches_of_residents_only(cls, value: int, info: ValidationInfo) -> int:
        if value != cls.model_fields[str(info.field_name)].default:
            if info.data.get("start") not in (None, "resident"):
                msg = 'is only for start = "resident"; set that, or remove it'
                raise ValueError(msg)
            if info.data.get("input") == "files":
                msg = 'is not for input = "files"; remove it'
                raise ValueError(msg)
            if info.field_name == "batch_ms" and info.data.get("batch") == 1:
                msg = "says how long a batch waits; set batch = 8, or remove it"
                raise ValueError(msg)
        return value

    @field_validator("command", mode="after")
    @classmethod
    def _command_without_python(
        cls, value: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        if info.data.get("entry"):
            msg = "and entry exclude each other; remove one of the two"
            raise ValueError(msg)
        if info.data.get("start") == "resident":
            msg = 'is started anew by each call: start = "resident" gains nothing; remove that'
            raise ValueError(msg)
        for field in ("dependencies", "requires_python", "environment"):
            if info.data.get(field) not in (None, "", (), "auto"):
                msg = (
                    f"is run by no Python of ours, so {field.replace('_', '-')} means nothing; "
                    "remove it, and have what the program needs in its folder or on the host"
                )
                raise ValueError(msg)
        return value

    @field_validator("input_schema", mode="after")
    @classmethod
    def _schema_for_json_only(
        cls, value: dict[str, Any] | None, info: ValidationInfo
    ) -> dict[str, Any] | None:
        if info.data.get("input") in ("image", "files") and value is not None:
            msg = 'is only for input = "json"; set that, or remove the schema'
            raise ValueError(msg)
        return value


def read_inline(path: Path) -> Manifest:
    """Read the manifest in a plugin file's PEP 723 block; NoManifest when it has none."""
    source = inline_source(path)
    table = _table(source)
    if table is None:
        text = "this `script` block has no [tool.toolrunner] table"
        raise no_inline_manifest(path, source.lines_before, text)
    for key in ("entry", "command"):
        if key in table:
            text = (
                "is only for a folder with toolrunner.toml; remove it: a file's entry is its "
                "run(payload) or its class Plugin"
            )
            raise _with_stated(source.error((*_TABLE, key), text), table)
    return _manifest(source, table)


def read_toml(path: Path, *, needs_entry: bool = True) -> Manifest:
    """Read the manifest of a folder plugin, whose ``entry`` must lie in that folder.

    An installed plugin does not need one: the entry point names its object.
    """
    source = toml_source(path)
    table = _table(source)
    if table is None:
        message = f"{shown(path)}:1: no [tool.toolrunner] table; write at least:\n{MINIMAL_TOML}"
        raise NoManifest(message, path=path, line=1)
    manifest = _manifest(source, table)
    key = "command" if manifest.command else "entry"
    if manifest.command:
        problem = _command_problem(path.parent, manifest.command[0])
        if not needs_entry:
            problem = "is only for a folder; an installed plugin has an entry"
    else:
        problem = _entry_problem(path.parent, manifest.entry) if needs_entry else ""
    if problem:
        raise _with_stated(source.error((*_TABLE, key), problem), table)
    return manifest


def _command_problem(folder: Path, program: str) -> str:
    """Tell what is wrong with a program of the folder's own; others are looked up in the box."""
    if "/" not in program or program.startswith("/"):
        return ""
    try:
        mode = (folder / program).stat().st_mode
    except OSError:
        return f"there is no {program} beside this file; name a program that is there"
    if not stat.S_ISREG(mode):
        return f"{program} is no file; name a program"
    if not mode & stat.S_IXOTH:
        return (
            f"{program} is not executable for all users; chmod a+rx it, or name what runs it "
            f'first, as in ["sh", "{program}"]'
        )
    return ""


def _entry_problem(folder: Path, entry: str) -> str:
    if not entry:
        return (
            'is missing; add entry = "module:object", such as "main:run", or for a program '
            'command = ["node", "main.mjs"]'
        )
    first = entry.partition(":")[0].partition(".")[0]
    if not ((folder / first).is_dir() or (folder / f"{first}.py").is_file()):
        return f"there is no {first}.py beside this file; name a module that is there"
    return ""


def _table(source: Source) -> dict[str, Any] | None:
    """Return the ``[tool.toolrunner]`` table, once the tables around it are known to be sound."""
    document = source.document
    for key in document:
        if key not in {"tool", *_TOP_KEYS}:
            raise source.error((key,), _unknown_top_key(key))
    tool = document.get("tool", {})
    if not isinstance(tool, dict):
        raise source.error(("tool",), "must be a table; write [tool.toolrunner]")
    if "toolrunner" not in tool:
        for key in tool:
            if suggestion(key, ["toolrunner"]).startswith("did you mean"):
                raise source.error(("tool", key), "unknown table; did you mean toolrunner?")
        return None
    table = tool["toolrunner"]
    if not isinstance(table, dict):
        raise source.error(_TABLE, "must be a table; write [tool.toolrunner]")
    return table


def _unknown_top_key(key: str) -> str:
    if key in Manifest.model_fields:
        return "does not belong here; move it below [tool.toolrunner]"
    return f"unknown key; {suggestion(key, ['tool', *_TOP_KEYS])}"


def _manifest(source: Source, table: dict[str, Any]) -> Manifest:
    for key in (*_TOP_KEYS, "requires_python"):
        if key in table:
            right = key.replace("_", "-")
            text = f"does not belong here; write {right} above [tool.toolrunner]"
            raise _with_stated(source.error((*_TABLE, key), text), table)
    top = {
        field: source.document[key] for key, field in _TOP_KEYS.items() if key in source.document
    }
    try:
        manifest = Manifest.model_validate({**table, **top})
    except ValidationError as error:
        raise _with_stated(_as_manifest_error(source, error), table) from None
    for one in (manifest, *manifest.tools.values()):
        one._file = source.path
    return manifest


def _as_manifest_error(source: Source, error: ValidationError) -> ManifestError:
    """Say everything that is wrong, each with its place, in the order of the file."""
    found = [
        (_key(details["loc"]), _explain(details, field_of(details["loc"])))
        for details in error.errors(include_url=False)
        if details["type"] != "default_factory_not_called"  # only follows from another mistake
    ]
    found.sort(key=lambda problem: source.line_of(problem[0]))
    lines = [source.says(key, text) for key, text in found[:_PROBLEMS_SHOWN]]
    if len(found) > _PROBLEMS_SHOWN:
        lines.append(f"and {len(found) - _PROBLEMS_SHOWN} more")
    first = found[0][0]
    return ManifestError(
        "\n".join(lines), path=source.path, line=source.line_of(first), key=dotted(first)
    )


def _key(loc: KeyPath) -> KeyPath:
    """Return the key in the document for a place in the model."""
    for key, field in _TOP_KEYS.items():
        if loc[0] == field:
            return (key, *loc[1:])
    return (*_TABLE, *(part for part in loc if part != "[key]"))


def _unknown_key(key: str, value: object) -> str:
    """Return what may be meant: a key, by whatever name, or a limit."""
    own = [name for name in Manifest.model_fields if name not in _TOP_KEYS.values()]
    limit = limit_words.meant(key, value)
    if limit and not difflib.get_close_matches(key, own, n=1, cutoff=_ALIKE):
        return f"unknown key; it is a limit: write limits = {{ {limit} }}"
    if key in _OTHER_NAMES:
        return f"unknown key; did you mean {_OTHER_NAMES[key]}?"
    return f"unknown key; {suggestion(key, own)}"


def _explain(details: ErrorDetails, field: str) -> str:
    kind = details["type"]
    context = details.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(field, details["input"])
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "string_too_long":
        return f"must be at most {context['max_length']} characters; shorten it"
    if field == "tools":
        return EXPLAINED.get(kind) or details["msg"].removeprefix("Value error, ")
    example = _EXAMPLES.get(field, '"1.0"')
    words = {
        "missing": 'is missing; add name = "my-plugin"',
        "string_too_short": "is empty; write something, or remove it",
        "string_type": f"must be text in quotes, such as {example}",
        "bool_type": "must be true or false, without quotes",
        "int_type": "must be a whole number, without quotes",
        "greater_than_equal": f"must be at least {context.get('ge')}",
        "less_than_equal": f"must be at most {context.get('le')}",
        "tuple_type": f"must be a list, such as [{example}]",
        "dict_type": 'must be a table, such as { type = "object" }',
    }
    return words.get(kind) or details["msg"].removeprefix("Value error, ")


def _with_stated(error: ManifestError, table: dict[str, Any]) -> ManifestError:
    """Keep what a listing can still show of a broken plugin."""
    stated = {}
    for key in ("name", "version", "description"):
        text = table.get(key)
        if isinstance(text, str) and text.isprintable() and len(text) <= _LONGEST_TEXT:
            stated[key] = text
    if not fields.is_name(stated.get("name", "")):
        stated.pop("name", None)
    error.stated = stated
    return error
