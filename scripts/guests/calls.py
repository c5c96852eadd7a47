"""Runs in a machine: calls harmless plugins; prints how many succeeded and how they ran."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from toolrunner import Call, PluginRegistry, ToolRunner
from toolrunner.plugins.corpus import HARMLESS
from toolrunner.runner.settings.settings import Settings

_CALLS = 5
_PHOTO = Path(__file__).parent.parent.parent / "plugins/bundled/samples/coffee-label.jpg"


def main() -> None:
    """Call each plugin some times, one call after the other."""
    settings = Settings.load()
    registry = PluginRegistry.discover(settings=settings)
    payloads = {
        HARMLESS.name: {},
        "barcode": {"image": _PHOTO.read_bytes(), "mime_type": "image/jpeg"},
    }
    ok = total = 0
    modes = set()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        plugin = HARMLESS.plugin(Path(folder))
        registry.register(plugin.name, instance=plugin)
        with ToolRunner(registry, settings=settings) as tool_runner:
            for name, payload in payloads.items():
                for _ in range(_CALLS):
                    call = Call()
                    _, error = tool_runner.run(name, payload, call=call)
                    total += 1
                    if error is None:
                        ok += 1
                        modes.add(call.isolation.mode)
                    else:
                        print(name, error, file=sys.stderr)
    print(json.dumps({"ok": ok, "of": total, "modes": sorted(modes)}))


if __name__ == "__main__":
    main()
