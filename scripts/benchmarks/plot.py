"""Draws the comparison: medians as bars on a logarithmic scale, the 99th percentile as a line."""

from __future__ import annotations

import math
from typing import Any
from xml.sax.saxutils import escape

_WIDTH, _LEFT, _ROW, _TOP, _RIGHT = 760, 150, 34, 46, 150
_TITLE = "One call in a fresh process, ms (log scale): median, and 99th percentile as a line"
_STYLE = """
text { font: 13px sans-serif; fill: #24292f; } .bar { fill: #8c959f; } .own { fill: #0969da; }
.line { stroke: #57606a; stroke-width: 1.5; } .grid { stroke: #d0d7de; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .bar { fill: #6e7681; } .own { fill: #2f81f7; }
  .line { stroke: #adbac7; } .grid { stroke: #30363d; }
}
"""


def bars(rows: list[dict[str, Any]]) -> str:
    """Return an SVG of rows with ``side``, ``of_floor``, ``p50_ms`` and ``p99_ms``."""
    rows = [row for row in rows if row["p50_ms"] is not None]
    least = min(row["p50_ms"] for row in rows) / 2
    most = max(row["p99_ms"] for row in rows) * 1.1
    span = _WIDTH - _LEFT - _RIGHT

    def x(milliseconds: float) -> float:
        return _LEFT + span * math.log(milliseconds / least) / math.log(most / least)

    height = _TOP + _ROW * len(rows) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{_TITLE}</title>",
        f"<style>{_STYLE}</style>",
        f'<text x="{_LEFT}" y="20">{_TITLE}</text>',
    ]
    for power in range(math.ceil(math.log10(least)), math.floor(math.log10(most)) + 1):
        at = x(10.0**power)
        parts.append(
            f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP - 14}" '
            f'y2="{height - 24}"/><text x="{at:.1f}" y="{height - 8}" text-anchor="middle">'
            f"{10.0**power:g}</text>"
        )
    for number, row in enumerate(rows):
        y = _TOP + _ROW * number
        end, whisker = x(row["p50_ms"]), x(row["p99_ms"])
        kind = "own" if row["side"].startswith("toolrunner") else "bar"
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y + 16}" text-anchor="end">{escape(row["side"])}</text>'
            f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{end - _LEFT:.1f}" height="22"/>'
            f'<line class="line" x1="{end:.1f}" x2="{whisker:.1f}" y1="{y + 11}" y2="{y + 11}"/>'
            f'<line class="line" x1="{whisker:.1f}" x2="{whisker:.1f}" y1="{y + 5}" '
            f'y2="{y + 17}"/><text x="{whisker + 6:.1f}" y="{y + 16}">'
            f"{row['p50_ms']:.1f} ({row['of_floor']:.2f} of the floor)</text>"
        )
    return "\n".join([*parts, "</svg>\n"])
