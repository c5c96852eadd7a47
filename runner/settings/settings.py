"""The operator's settings: what is allowed here, and where each value came from.

ToolRunner, the registry and the doors take one ``Settings`` object; ``Settings.load`` reads the
environment and the configuration file once, and refuses what it does not understand. Constructed
directly it reads nothing. Arguments win over the environment, that over the file.
"""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from platformdirs import user_state_path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    ValidationError,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from toolrunner.plugins.errors import suggestion
from toolrunner.plugins.fields import LIMIT_CEILING, is_name
from toolrunner.runner.jobs import blob_places
from toolrunner.runner.payloads.strict_json import JsonError, check
from toolrunner.runner.settings.caps import default_caps
from toolrunner.runner.settings.complaints import explain
from toolrunner.runner.settings.database_url import DatabaseUrl
from toolrunner.runner.settings.sources import (
    KeyPath,
    Layer,
    SettingsError,
    argument_layer,
    read_layers,
    told,
)
from toolrunner.runner.webhooks import addresses
from toolrunner.sandbox.limits import LIMIT_NAMES, Limits

__all__ = ["PluginSettings", "Settings", "SettingsError"]

APP_NAME = "toolrunner"
# The state folder of a user without a home (a number alone, as in a container): calls keep nothing,
# and nobody can put anything there.
NOWHERE = Path(os.devnull) / APP_NAME
SERVERS_BREAKER_FAILURES = 5
MOST_JOB_THREADS = 1_000
_CONFIG_DEPTH = len(("plugin", "NAME", "config"))


def _default_state() -> Path:
    try:
        return user_state_path(APP_NAME)
    except RuntimeError:
        return NOWHERE


def is_default_state(folder: Path) -> bool:
    """Tell whether a state folder is the one that is taken where none is named."""
    return folder == _default_state()


def _path(value: Path) -> Path:
    if value == Path() or "\0" in str(value):
        message = "must not be empty; name a folder"
        raise ValueError(message)
    return value.expanduser()


def _state_path(value: Path) -> Path:
    """Return a path that means the same wherever it is used: boxes have other working folders."""
    try:
        return _path(value).absolute()
    except FileNotFoundError:
        message = "is relative to a folder that is not there any more; name an absolute path"
        raise ValueError(message) from None


def _absolute(value: Path) -> Path:
    path = value.expanduser()
    if not path.is_absolute():
        message = "must be an absolute path, such as /srv/models"
        raise ValueError(message)
    return path


def _endpoint(value: str) -> str:
    found = urlsplit(value)
    if found.scheme not in {"http", "https"} or not found.hostname:
        message = "must be the URL of a collector, such as http://localhost:4318"
        raise ValueError(message)
    return value.rstrip("/")


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        message = "must be an address or a network, such as 127.0.0.1 or 10.0.0.0/8"
        raise ValueError(message) from None
    return value


def _limit_name(name: str) -> str:
    if name not in LIMIT_NAMES:
        message = f"unknown limit; {suggestion(name, LIMIT_NAMES)}"
        raise ValueError(message)
    return name


def _plugin_name(name: str) -> str:
    if not is_name(name):
        message = "must be a plugin's name: lower-case letters, digits and hyphens, at most 64"
        raise ValueError(message)
    return name


def _plugin_name_or_all(name: str) -> str:
    return name if name == "*" else _plugin_name(name)


def _once_each(urls: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(urls)) < len(urls):
        message = "must name each address once"
        raise ValueError(message)
    return urls


def _whole_where_whole(caps: dict[str, float]) -> dict[str, float]:
    """Return the caps with the type that each limit has, and the default ones of all others.

    A cap of 1.5 processes is a mistake.
    """
    exact: dict[str, float] = {}
    for name, cap in caps.items():
        if isinstance(getattr(Limits(), name), float):
            exact[name] = float(cap)
        elif float(cap).is_integer():
            exact[name] = int(cap)
        else:
            message = f"{name} must be a whole number, not {cap:g}"
            raise ValueError(message)
    return {**default_caps(), **exact}


def _strict_json(config: dict[str, Any]) -> dict[str, Any]:
    try:
        check(config, what="config")
    except JsonError as error:
        message = f"must be what JSON can carry (dates as strings): {error}"
        raise ValueError(message) from None
    return config


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        message = "must be a number"
        raise ValueError(message)  # noqa: TRY004 - pydantic takes ValueError for a finding
    return value


_Cap = Annotated[float, BeforeValidator(_not_bool), Field(gt=0, le=LIMIT_CEILING)]
_Caps = Annotated[
    dict[Annotated[str, AfterValidator(_limit_name)], _Cap], AfterValidator(_whole_where_whole)
]
_Name = Annotated[str, AfterValidator(_plugin_name)]
_Folder = Annotated[Path, AfterValidator(_path)]
# Whatever is shown or written down of it has no password.
_Database = Annotated[DatabaseUrl, PlainValidator(DatabaseUrl.parse), PlainSerializer(str)]
_State = Annotated[Path, AfterValidator(_state_path)]


class PluginSettings(BaseModel):
    """What the operator gives one plugin."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: Annotated[dict[str, Any], AfterValidator(_strict_json)] = Field(
        default_factory=dict, description="what context.config holds: keys, model folders"
    )
    read: tuple[Annotated[Path, AfterValidator(_absolute)], ...] = Field(
        default=(), description="folders it may read beyond the default ones"
    )


class Settings(BaseSettings):
    """Every setting, checked; unknown ones are refused."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    plugins: tuple[_Folder, ...] = Field(
        default=(), description="plugin files, folder plugins, and folders of either"
    )
    state: _State = Field(
        default_factory=_default_state,
        description="folder of the job and metrics store and the keys",
    )
    blobs: Annotated[str, AfterValidator(blob_places.check)] = Field(
        default="",
        description="where payloads, results and artifacts of jobs lie, if not in the state folder",
    )
    isolation: Literal["full", "degraded"] = Field(
        default="full", description='"degraded" runs plugins even below the floor of isolation'
    )
    caps: _Caps = Field(
        default_factory=default_caps, description="the most that a manifest may ask of each limit"
    )
    allow_installed: tuple[str, ...] = Field(
        default=(), description="distributions whose plugins are used"
    )
    allow_bundled: tuple[_Name, ...] = Field(
        default=(), description='bundled plugins that are off by default, and on here: "python"'
    )
    disable_bundled: tuple[_Name, ...] = Field(
        default=(), description="bundled plugins that are off: others may have their names"
    )
    allow_network: tuple[_Name, ...] = Field(
        default=(), description="plugins that may use the host's network"
    )
    allow_resident: tuple[Annotated[str, AfterValidator(_plugin_name_or_all)], ...] = Field(
        default=(), description='plugins whose processes may serve many calls; "*" for all'
    )
    plugin: dict[_Name, PluginSettings] = Field(
        default_factory=dict, description="config and read of single plugins, by name"
    )
    max_concurrent: Annotated[int, Field(ge=1, le=10_000)] = Field(
        # Plugins mostly wait: for their start, for files, for each other. The kernel shares the
        # processors fairly, so a few calls a processor keep it busy without starving any.
        default_factory=lambda: 4 * (os.cpu_count() or 1),
        description="calls at once; four a processor by default",
    )
    max_waiting: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=64, description="calls that may wait for their turn; more are Overloaded"
    )
    max_parallel: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default_factory=lambda: 2 * (os.cpu_count() or 1),
        description="calls of one plugin at once; two a processor by default",
    )
    threads_per_call: Annotated[int, Field(ge=1, le=1_024)] = Field(
        default=1, description="threads of each numeric library (OpenBLAS, OpenMP, OpenCV ...)"
    )
    queue_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=30.0, description="how long a call may wait for its turn"
    )
    standby: Annotated[int, Field(ge=0, le=64)] = Field(
        default=2, description="processes that a warm box keeps ready for calls to come"
    )
    max_boxes: Annotated[int, Field(ge=0, le=2_000)] = Field(
        default=32, description="warm boxes at once; 0 runs every call cold"
    )
    boxes_memory_mb: Annotated[int, Field(ge=1, le=LIMIT_CEILING)] = Field(
        default=2048, description="memory of all warm boxes together, idle ones closed beyond it"
    )
    idle_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        default=300.0, description="after which an unused warm box is closed"
    )
    calls_per_box: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        default=10_000, description="calls after which a warm box is replaced"
    )
    resident_per: Literal["plugin", "caller"] = Field(
        default="caller", description="whose calls a resident process serves"
    )
    max_residents: Annotated[int, Field(ge=1, le=1_000)] = Field(
        default_factory=lambda: os.cpu_count() or 1,
        description="resident processes of one plugin at once; one a processor by default",
    )
    residents_memory_mb: Annotated[int, Field(ge=1, le=LIMIT_CEILING)] = Field(
        default=4096, description="memory of all residents together, idle ones closed beyond it"
    )
    max_batch: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=64, description="calls that a resident may serve together; 1 turns batches off"
    )
    calls_per_resident: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        default=10_000, description="calls after which a resident is replaced"
    )
    max_body_mb: Annotated[int, Field(ge=1, le=LIMIT_CEILING)] = Field(
        # A payload of 100 MiB, the most that a plugin takes by default, as base64 in JSON.
        default=150,
        description="the largest HTTP request that is read",
    )
    connections_per_client: Annotated[int, Field(ge=1, le=10_000)] = Field(
        # Half of what a worker has: one client leaves the others something.
        default=200,
        description="connections of one address to one worker at once",
    )
    head_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=20.0, description="how long a request's head may take to come"
    )
    # No less: a worker may wait for 20 s for a file that another process holds.
    hung_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=60.0,
        description="after how long a worker that could say that it lives, and does not, is killed",
    )
    keyless_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=120,
        description="requests without a valid key of one address, where keys are needed",
    )
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        default=(), description="addresses whose X-Forwarded-For is believed"
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="names a server without keys answers to, beside the loopback's"
    )
    jobs: _Database = Field(
        default=DatabaseUrl(""),
        description="PostgreSQL where servers of several machines share their jobs",
    )
    max_jobs: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        default=1000, description="jobs that may be pending; more are Overloaded"
    )
    max_jobs_mb: Annotated[int, Field(ge=1, le=LIMIT_CEILING)] = Field(
        default=4096, description="payloads of pending jobs together; more are Overloaded"
    )
    job_threads: Annotated[int, Field(ge=0, le=MOST_JOB_THREADS)] = Field(
        # One a processor leaves room beside them for those who wait for an answer.
        default_factory=lambda: os.cpu_count() or 1,
        description="jobs that one worker runs at once, one a processor by default; 0 runs none",
    )
    breaker_failures: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=0,
        description="failures in a row that suspend a plugin; 0 is never (serve: 5, if not set)",
    )
    breaker_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        default=30.0, description="for how long; then one call tries"
    )
    webhooks: Annotated[
        tuple[Annotated[str, AfterValidator(addresses.check)], ...],
        AfterValidator(_once_each),
        Field(max_length=addresses.MOST),
    ] = Field(default=(), description="addresses that each ended job is posted to, signed")
    keep_hours: Annotated[float, Field(gt=0, le=100_000)] = Field(
        default=24.0, description="how long an ended job is kept, with its result"
    )
    keep_mb: Annotated[int, Field(ge=1, le=LIMIT_CEILING)] = Field(
        default=1024,
        description="results and artifacts that are kept at most; who has most loses its oldest",
    )
    keep_dead: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=1000, description="dead jobs that are kept at most with their payloads; 0 for none"
    )
    keep_dead_mb: Annotated[int, Field(ge=1, le=LIMIT_CEILING)] = Field(
        default=1024, description="payloads of dead jobs that are kept at most"
    )
    keep_failures: _State | None = Field(
        default=None,
        description="folder for failed calls with their payloads, for `toolrunner replay`",
    )
    keep_failures_mb: Annotated[int, Field(ge=1, le=LIMIT_CEILING)] = Field(
        default=1024, description="what these may be together; the oldest go first"
    )
    keep_failures_calls: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=200, description="how many of them are kept at most; the oldest go first"
    )
    traces_endpoint: Annotated[str, AfterValidator(_endpoint)] | None = Field(
        default=None,
        description="where a server sends traces by OTLP over HTTP, as http://localhost:4318",
    )
    drain_delay_seconds: Annotated[float, Field(ge=0, le=3_600)] = Field(
        default=0.0,
        description="how long an ending server still serves while /readyz says draining",
    )
    drain_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=30.0, description="how long an ending server waits for what runs"
    )

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the constructor alone: ``load`` puts the other layers beneath them."""
        return (init_settings,)

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Return the settings in force here; ``overrides`` that are ``None`` are left out.

        Raises SettingsError, which names the file or variable, the key and the line.
        """
        layers = [argument_layer(overrides), *read_layers(cls)]
        values: dict[str, Any] = {}
        for layer in reversed(layers):
            values = _merged(values, layer.values)
        try:
            settings = cls(**values)
        except ValidationError as error:
            raise SettingsError(_complaint(error, layers, cls)) from None
        settings._sources.update(_sources_of(settings, layers))
        settings._check_together()
        return settings

    def _check_together(self) -> None:
        """Raise SettingsError for what does not go with what else is set."""
        if self.jobs and not self.blobs:
            words = "needs `blobs`, a place that all servers reach, such as s3://bucket/prefix"
            self._refuse("jobs", words)

    def _refuse(self, name: str, words: str) -> None:
        message = f"{self._sources[name]}: {name}: {words}"
        raise SettingsError(message)

    def leaves(self) -> list[KeyPath]:
        """Return the path of every setting: ``("caps", "memory_mb")``."""
        return _leaves(self.model_dump(), ())

    def for_serving(self) -> Self:
        """Return what holds for a server where nobody has set it: it has a circuit breaker."""
        if "breaker_failures" in self.model_fields_set:
            return self
        return self.model_copy(update={"breaker_failures": SERVERS_BREAKER_FAILURES})

    @property
    def keeps_state(self) -> bool:
        """Whether there is a place for a state folder."""
        return self.state != NOWHERE

    def kept_state(self) -> Path:
        """Return the state folder for what has to be kept; raises SettingsError without a place."""
        if not self.keeps_state:
            message = (
                "this user has no home folder, and so none for the state: name one with --state or "
                "TOOLRUNNER_STATE, or set HOME"
            )
            raise SettingsError(message)
        return self.state

    def sources(self) -> dict[str, str]:
        """Return, for each setting as ``caps.memory_mb``, in words where its value came from."""
        return dict(self._sources) or _sources_of(
            self, [argument_layer({name: getattr(self, name) for name in self.model_fields_set})]
        )


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return two layers as one: tables are joined, everything else is replaced."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = _merged(old, value)
        else:
            result[key] = value
    return result


def _origin(layers: list[Layer], path: KeyPath, otherwise: str) -> str:
    return next((origin for layer in layers if (origin := layer.origin(path))), otherwise)


def _sources_of(settings: Settings, layers: list[Layer]) -> dict[str, str]:
    sources: dict[str, str] = {}
    for path in settings.leaves():
        sources[told(path)] = _origin(layers, path, "default")
    return sources


def _leaves(value: dict[str, Any], path: KeyPath) -> list[KeyPath]:
    """Return the path of every setting: tables of settings are opened, a plugin's config is not."""
    leaves: list[KeyPath] = []
    for key, inner in value.items():
        here = (*path, key)
        is_table = isinstance(inner, dict) and inner and len(here) < _CONFIG_DEPTH
        leaves += _leaves(inner, here) if is_table else [here]
    return leaves


def _complaint(error: ValidationError, layers: list[Layer], model: type[BaseModel]) -> str:
    """Return a line for each finding: where it stands, which key, and what to do."""
    lines = []
    for finding in error.errors(include_url=False):
        location = tuple(part for part in finding["loc"] if part != "[key]")
        path = tuple(str(part) for part in location)
        origin = _origin(layers, path, "settings")
        words = explain(
            finding,
            path,
            model.model_fields,
            PluginSettings.model_fields,
            is_variable=origin.startswith("environment "),
        )
        lines.append(f"{origin}: {told(path)}: {words}")
    return "\n".join(lines)
