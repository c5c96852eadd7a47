"""Pages from templates. Whatever is put in is text, whoever wrote it: escaped, and made visible.

A template gets values and marks them up; it decides nothing about them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from toolrunner.api.metrics import families
from toolrunner.api.page.static_files import StaticFiles
from toolrunner.api.shown import without_paths
from toolrunner.runner.errors import harmless

_TEMPLATES = Path(__file__).parent / "templates"
_THOUSAND = 1000
_NOTHING = "\N{EN DASH}"
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_TEN = 10

# Nothing is run, loaded, framed or posted but what is this server's own.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # With no-referrer a browser would say of our own forms that they come from nowhere.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Rendering:
    """The templates of the page, and what all of them may use."""

    def __init__(self, files: StaticFiles) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_visible,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["static"] = files.address
        self._templates.filters |= {
            "amount": amount,
            "at_most": at_most,
            "bytes": in_bytes,
            "duration": duration,
            "milliseconds": milliseconds,
            "moment": moment,
            "pretty": pretty,
            "rate": rate,
            "without_paths": without_paths,
        }

    def prepare(self) -> None:
        """Compile all templates now, so that nobody who looks waits for it."""
        for name in self._templates.list_templates():
            self._templates.get_template(name)

    def text(self, template: str, **values: object) -> str:
        """Return what a template makes of some values."""
        return self._templates.get_template(template).render(values)

    def page(
        self,
        template: str,
        values: Mapping[str, object],
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> HTMLResponse:
        """Return the same as an answer."""
        text = self.text(template, **values)
        return HTMLResponse(text, status, {**HEADERS, **(headers or {})})


def _visible(value: object) -> object:
    """Return what is put in, with what would hide or reorder text in it spelled out."""
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        return harmless(value)
    return value


def amount(number: float) -> str:
    """Return a number with its thousands apart."""
    return f"{number:,.0f}"


def rate(per_second: float | None) -> str:
    """Return how often something happens, in the shortest time in which it does."""
    if per_second is None:
        return _NOTHING
    often, unit = per_second, "s"
    if 0 < often < 1:
        often, unit = often * _MINUTE, "min"
    if 0 < often < 1:
        often, unit = often * _MINUTE, "h"
    return f"{often:,.0f}/{unit}" if often >= _TEN else f"{often:.2g}/{unit}"


def in_bytes(number: float) -> str:
    """Return a size in the largest unit that leaves something before the point."""
    size, units = float(number), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:  # noqa: PLR2004 - what makes the next unit
        size /= 1024
        units.pop(0)
    return f"{size:.0f} {units[0]}" if size >= _TEN or units[0] == "B" else f"{size:.1f} {units[0]}"


def milliseconds(number: float | None) -> str:
    """Return a time that a call took, which is given in milliseconds."""
    if number is None:
        return _NOTHING
    if number >= _THOUSAND:
        return duration(number / _THOUSAND)
    return f"{number:.0f} ms" if number >= _TEN else f"{number:.1f} ms"


def at_most(ms: float | None) -> str:
    """Return the time that so many calls took at most, which is known by the bounds of buckets."""
    if ms is None:
        return _NOTHING
    sign = ">" if math.isinf(ms) else "\N{LESS-THAN OR EQUAL TO}"
    bound = milliseconds(min(ms, families.SECONDS[-1] * _THOUSAND))
    return f"{sign} {bound.removesuffix(' 0 s')}"


def duration(seconds: float | None) -> str:
    """Return a time in the two largest units that it has."""
    if seconds is None:
        return _NOTHING
    if seconds < _MINUTE:
        return f"{seconds:.1f} s" if seconds < _TEN else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def moment(value: datetime | None) -> str:
    """Return a moment as a person reads it, in UTC, and as a program does."""
    if value is None:
        return _NOTHING
    text = value.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        text.isoformat(), f"{text:%Y-%m-%d %H:%M:%S}"
    )


def pretty(value: object) -> str:
    """Return a JSON value over several lines."""
    return json.dumps(value, indent=2, ensure_ascii=False)
