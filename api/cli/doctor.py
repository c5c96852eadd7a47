"""``toolrunner doctor``: what this host can isolate, tried for real, and what is missing.

Called by ``commands``. The trials are the sandbox's own; here they are put in words.
"""

from __future__ import annotations

import errno
import getpass
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolrunner.api.cli.console import plain, table_of
from toolrunner.api.cli.views.figures import Bar
from toolrunner.plugins.errors import suggestion
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.start_mode import Start
from toolrunner.sandbox.layers import floor_gaps, warm_gaps
from toolrunner.sandbox.probe import Host, Trial, probe_host

_MEANING = {
    "namespaces.user": "a user of its own, with no rights here",
    "namespaces.mount": "its own view of files",
    "namespaces.pid": "sees only its own processes",
    "namespaces.net": "no network",
    "namespaces.ipc": "no shared memory with others",
    "namespaces.uts": "a host name of its own",
    "proc": "a /proc of its own",
    "landlock": "only the files it may see",
    "seccomp": "dangerous system calls refused",
    "seccomp_notify": "calls signal only their own processes",
    "rlimits": "the kernel's own limits",
    "unprivileged_user": "plugins are never root",
    "watchdog": "memory, time and processes measured",
    "cgroup": "memory that no figure of /proc shows",
    "call_isolation": "calls cannot see or signal each other",
}
# The bundled plugin whose calls are measured: it does next to nothing itself.
MEASURED = "text-stats"


@dataclass(frozen=True, slots=True)
class Examination:
    """What the trials found out, and what of the floor they cannot promise."""

    host: Host
    gaps: tuple[str, ...]
    user_gap: str = ""  # why a plugin would run as root here: no setting changes that

    @property
    def is_floor_met(self) -> bool:
        """Whether calls are taken here."""
        return not self.all_gaps

    @property
    def all_gaps(self) -> tuple[str, ...]:
        """All that keeps calls from being taken here."""
        return (*self.gaps, self.user_gap) if self.user_gap else self.gaps


@dataclass(frozen=True, slots=True)
class Cost:
    """The median of some calls that started so; ``None`` with the reason why there is none."""

    mode: str
    ms: float | None
    why: str = ""


def examine() -> Examination:
    """Try every layer; raise ``SetupError`` when not even trying is possible."""
    host = probe_host()
    return Examination(host, floor_gaps(host.layers), host.user_gap())


@dataclass(frozen=True, slots=True)
class Said:
    """What the operator's settings are, if they can be read, and what is wrong with them."""

    settings: Settings | None = None
    mistakes: tuple[str, ...] = ()


def misnamed(settings: Settings, known: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence for each name in the settings that no plugin here has."""
    named = {
        "allow_resident": [name for name in settings.allow_resident if name != "*"],
        "allow_network": settings.allow_network,
        "plugin": settings.plugin,
    }
    return tuple(
        f"{key} names {name}, and no plugin that is known here has that name; "
        f"{suggestion(name, known)}"
        for key, names in named.items()
        for name in names
        if name not in known
    )


def document(
    found: Examination, said: Said | None = None, costs: Sequence[Cost] = ()
) -> dict[str, Any]:
    """Return it all as JSON shows it, with what the operator has said, and what a call costs."""
    shown: dict[str, Any] = {
        "layers": [_layer(trial) for trial in _trials(found.host)],
        "floor": {"met": found.is_floor_met, "gaps": list(found.all_gaps)},
        "start": asdict(_start(found)),
        "host": _about_host(),
    }
    if said is not None:
        shown["mistakes"] = list(said.mistakes)
    if said is not None and said.settings is not None:
        shown["residents"] = _residents(said.settings)
    if costs:
        shown["costs"] = [asdict(one) for one in costs]
    return shown


def _trials(host: Host) -> list[Trial]:
    """Return the trials, and the layer that follows from them."""
    holds = "call_isolation" not in host.layers.missing()
    remedy = "" if holds else "it needs namespaces.pid and .mount, or landlock with seccomp"
    follows = Trial("call_isolation", holds, "follows from the layers above", remedy=remedy)
    return [*host.trials, follows]


def _start(found: Examination) -> Start:
    """Return how plugins start here, as far as the host decides it."""
    gaps = warm_gaps(found.host.layers)
    return Start("cold", gaps) if gaps else Start("warm")


def _layer(trial: Trial) -> dict[str, Any]:
    return {
        "layer": trial.layer,
        "on": trial.ok,
        "operation": trial.operation,
        "detail": trial.detail,
        "errno": trial.errno,
        "errno_name": errno.errorcode.get(trial.errno or 0),
        "remedy": trial.remedy,
    }


def _about_host() -> dict[str, str]:
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "user": _user(),
    }


def _user() -> str:
    uid = os.getuid()
    try:
        return f"{getpass.getuser()} (uid {uid})"
    except (KeyError, OSError):  # a uid without a name, as containers have
        return f"uid {uid}"


def view(
    found: Examination, said: Said | None = None, costs: Sequence[Cost] = ()
) -> RenderableType:
    """Return it all for a person."""
    shown = document(found, said)
    about = Table(box=None, show_header=False, pad_edge=False)
    for name, value in shown["host"].items():
        about.add_row(Text(name, style="cyan"), plain(value))
    table = table_of("layer", "", "gives", "tried", "found")
    remedies = []
    for layer in shown["layers"]:
        state, words = _state(layer)
        meaning = _MEANING.get(layer["layer"], "")
        table.add_row(layer["layer"], state, meaning, plain(layer["operation"]), plain(words))
        if not layer["on"]:
            remedies.append(plain(f"{layer['layer']}: {layer['remedy']}"))
    parts: list[RenderableType] = [about, table, _figures(shown["layers"], costs), Text()]
    if remedies:
        parts += [Text("What would help:", style="bold"), *remedies, Text()]
    parts += _floor(found)
    if found.is_floor_met and "residents" in shown:
        parts.append(plain(_residents_words(shown["residents"])))
    parts += [plain(f"Settings: {words}", "yellow") for words in shown.get("mistakes", ())]
    return Group(*parts)


def _figures(layers: Sequence[Mapping[str, Any]], costs: Sequence[Cost]) -> Table:
    """Return how many layers are on, and what a call costs, drawn."""
    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column()
    grid.add_column()
    are_on = sum(one["on"] for one in layers)
    style = "green" if are_on == len(layers) else "yellow"
    words = f"{are_on} of {len(layers)} on"
    grid.add_row("layers", words, Bar(are_on / max(1, len(layers)), style))
    longest = max((one.ms or 0.0 for one in costs), default=0.0)
    for one in costs:
        name = f"a {one.mode} call"
        if one.ms is None:
            grid.add_row(name, plain(f"not measured: {one.why}", "yellow"), "")
        else:
            words = f"{one.ms:g} ms, of {MEASURED}"
            grid.add_row(name, words, Bar(one.ms / longest if longest else 0, "cyan"))
    return grid


def _residents(settings: Settings) -> dict[str, Any]:
    return {
        "allowed": list(settings.allow_resident),
        "per": settings.resident_per,
        "most_each": settings.max_residents,
        "memory_mb": settings.residents_memory_mb,
        "calls_each": settings.calls_per_resident,
        "most_together": settings.max_batch,
    }


def _residents_words(residents: Mapping[str, Any]) -> str:
    """Return in a sentence which plugins may be resident, and within which bounds."""
    if not residents["allowed"]:
        return "No plugin may be resident (allow_resident): none serves two calls by one process."
    names = "All plugins" if "*" in residents["allowed"] else ", ".join(residents["allowed"])
    most, per = residents["most_each"], residents["per"]
    return (
        f"{names} may be resident: at most {most} processes for each {per}, "
        f"{residents['memory_mb']} MiB in all, {residents['calls_each']} calls each, "
        f"{residents['most_together']} of them together."
    )


def _state(layer: Mapping[str, Any]) -> tuple[Text, str]:
    if layer["on"]:
        return Text("on", style="green"), str(layer["detail"])
    number = layer["errno"]
    if number is None:
        return Text("off", style="red"), str(layer["detail"])
    name = layer["errno_name"] or f"errno {number}"
    return Text("off", style="red"), f"{name}: {os.strerror(number)} ({layer['detail']})"


def _floor(found: Examination) -> list[RenderableType]:
    if found.is_floor_met:
        words = "This host isolates calls as well as is required: plugins run here."
        start = _start(found)
        how = "Calls are forked from loaded plugins (warm), where a plugin allows it: see"
        if start.mode == "cold":
            how = f"Every call loads its plugin anew (cold): {'; '.join(start.reasons)}. See"
        return [Text(words, style="green"), plain(f"{how} `toolrunner plugins show NAME`.")]
    return list(refusal(found))


def refusal(found: Examination) -> tuple[Text, ...]:
    """Return the lines that say why no call is taken here."""
    words = "This host cannot isolate calls as is required: they are refused. What is missing:"
    advice = "Mend what you can of the above."
    if not found.user_gap:
        advice += " TOOLRUNNER_ISOLATION=degraded runs plugins all the same, at your own risk."
    gaps = [plain(f"  - {gap}") for gap in found.all_gaps]
    return (Text(words, style="red"), *gaps, Text(advice))
