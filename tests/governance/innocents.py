"""Sources that look like broken ones and are not: nothing may be found in them."""

from __future__ import annotations

from tests.governance.edits import Case, append, innocent, remove, swap
from tests.governance.mutants import (
    CALL,
    CHECK,
    END,
    JOBS,
    PLUGINS,
    RECORD,
    REGISTRY,
    ROUTE,
    RUNNER,
    SEND,
)

DELEGATE = "        return self._plugins.execute_plugin(plugin_name, payload, call=call)\n"
ANALYZED = "    result, envelope = doors.backend.analysis.analyze(wanted.plugin, wanted.payload, call=call)\n"
STORED = '        message = f"the job could not be stored ({type(error).__name__}); it is not accepted"\n'
_WORK = "runner/jobs/dispatcher.py"


def added(name: str, body: str, path: str = _WORK) -> Case:
    """Return a case of some code at the end of a file."""
    return innocent(name, append(path, body))


ALL: tuple[Case, ...] = (
    # What else is called run
    added("subprocess", "import subprocess\n\n\ndef go(plugin):\n    return subprocess.run(['true', plugin], check=True)\n"),
    added("subprocess-input", "import subprocess as sp\n\n\ndef go(payload):\n    return sp.run(['cat'], input=payload, check=True)\n"),
    added("asyncio", "import asyncio\n\n\ndef go(main):\n    asyncio.run(main())\n"),
    added("uvicorn", "import uvicorn\n\n\ndef go(app):\n    uvicorn.run(app)\n", "api/serve/worker.py"),
    added("context", "import contextvars\n\n\ndef go(work, plugin):\n    return contextvars.copy_context().run(work, plugin)\n"),
    added("threads", "def go(threads, work, cancel):\n    return threads.run(work, cancel)\n"),
    added("exchange", "def go(exchange):\n    return exchange.run()\n"),
    added("supervisor", "class Supervisor:\n    def run(self):\n        return 0\n\n\ndef go():\n    return Supervisor().run()\n"),
    added("server-map", "def go(servers):\n    return [server.run() for server in servers]\n"),
    added("bound-run", "def go(pool, server):\n    return pool.submit(server.run)\n"),
    added("partial-run", "from functools import partial\n\n\ndef go(server):\n    return partial(server.run, 1)\n"),
    added("getattr-of-others", "def go(server):\n    return getattr(server, 'run')()\n"),
    added("own-run", "def run(payload):\n    return payload\n\n\ndef go(payload):\n    return run(payload)\n"),
    added("run-in-text", "HINT = 'call plugin.run(payload) in the worker'\n# plugin.run(payload)\n"),
    # Plugins, looked at and handed on
    added("plugin-fields", "def go(plugin):\n    return plugin.manifest.name, plugin.path, plugin.entry\n"),
    added("plugin-field-by-name", "def go(plugin, names):\n    return [getattr(plugin, name) for name in names]\n"),
    added("plugin-asked", "def go(plugin):\n    return callable(getattr(plugin, 'run', None)) and hasattr(plugin, 'run')\n"),
    added("plugin-defined", "class Plugin:\n    def run(self, payload):\n        return payload\n"),
    added("plugin-names", "def go(registry):\n    return [name.upper() for name in registry.list_plugins()]\n"),
    added("plugin-service", "def go(plugins, name):\n    return plugins.get_plugin(name)\n"),
    added("plugin-passed-on", "def go(build, plugin, payload):\n    return build(plugin, payload)\n"),
    added("registry-loop", "def go(registry):\n    for status in registry.list_all():\n        print(status.name, status.state)\n"),
    added("job-runner", "class JobRunner:\n    def run(self):\n        return self.job\n\n\ndef go(job_runner):\n    return job_runner.run()\n"),
    added("analyze-own", "class Report:\n    def analyze(self, text):\n        return text\n\n\ndef go(report, text):\n    return report.analyze(text)\n"),
    added("methodcaller-other", "from operator import attrgetter, methodcaller\n\n\ndef go(jobs):\n    return sorted(map(methodcaller('strip'), jobs), key=attrgetter('id'))\n"),
    added("text-of-itself", "def go(server, names):\n    path = ''\n    for name in names:\n        path = path + name\n    return getattr(server, path)()\n"),
    added("tree-of-itself", "def go(node):\n    while node.parent:\n        node = node.parent\n    return node.run()\n"),
    # Imports and loading
    added("regular-compile", "import re\n\nPATTERN = re.compile('a+')\n"),
    added("find-spec", "import importlib.util\n\n\ndef go(name):\n    return importlib.util.find_spec(name) is not None\n"),
    added("metadata", "import importlib.metadata\n\n\ndef go(name):\n    return importlib.metadata.version(name)\n"),
    added("resources", "from importlib.resources import files\n\n\ndef go():\n    return files('toolrunner.plugins.bundled.samples')\n"),
    added("json-load", "import json\n\n\ndef go(stream, settings):\n    return json.load(stream), settings.load()\n"),
    added("path-read", "import sys\n\n\ndef go():\n    return [folder for folder in sys.path if folder]\n"),
    added("late-import", "def go():\n    from toolrunner.sandbox.limits import MIB\n    return MIB\n"),
    added("protocol-shared", "from toolrunner.sandbox.inside.protocol import HEADER\n", "sandbox/channel.py"),
    added("type-checking", "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from collections.abc import Sized\n", "sandbox/inside/cell.py"),
    added("relative-inside", "from . import folders\n", "sandbox/inside/cell.py"),
    # ToolRunner, written otherwise
    innocent("run-default", swap(RUNNER, "    def run(\n        self, plugin_name: str, payload: Mapping[str, Any], *, call: Call | None = None\n    )", "    def run(\n        self, plugin_name: str, payload: Mapping[str, Any], call: Call | None = None, *, quiet: bool = False\n    )")),
    innocent("pair-in-parentheses", swap(RUNNER, END, "        if failure is not None:\n            return (None, self._envelope(name or None, call, failure))\n        return (result, None)\n")),
    innocent("pair-in-one", swap(RUNNER, END, "        return (result, None) if failure is None else (None, self._envelope(name or None, call, failure))\n")),
    innocent("pair-by-name", swap(RUNNER, END, "        if failure is None:\n            return result, None\n        envelope = self._envelope(name or None, call, failure)\n        return None, envelope\n")),
    innocent("metrics-by-name", swap(RUNNER, RECORD, "            self.registry.update_execution_metrics(\n                plugin_name=name, state=state, elapsed_ms=elapsed_ms, had_error=failure is not None\n            )\n")),
    innocent("metrics-then-log", swap(RUNNER, RECORD, RECORD + "            if elapsed_ms > 1000:\n                _LOG.info('slow')\n")),
    innocent("validation-in-a-with", swap(RUNNER, CHECK, "            with self._timed():\n                checked = self._validate(plugin, payload)\n")),
    innocent("validation-renamed", swap(RUNNER, CHECK, "            ready = self._validate(plugin, payload)\n"), swap(RUNNER, SEND, "            ending = self._call(plugin, ready, call)\n")),
    innocent("another-handler", swap(RUNNER, "        except GovernedError as error:\n            failure = error\n", "        except GovernedError as error:\n            failure = error\n        except OSError as error:\n            failure = GovernedError(ErrorType.SANDBOX_ERROR, type(error).__name__)\n")),
    # The way, written otherwise
    innocent("service-in-two-steps", swap(JOBS, DELEGATE, "        result, error = self._plugins.execute_plugin(plugin_name, payload, call=call)\n        return result, error\n")),
    innocent("service-with-finally", swap(PLUGINS, CALL, "        try:\n            result, error = self._tool_runner.run(plugin_name, payload, call=call)\n        finally:\n            self._observed = True\n")),
    innocent("service-by-keyword", swap(PLUGINS, CALL, "        result, error = self._tool_runner.run(plugin_name=plugin_name, payload=payload, call=call)\n")),
    innocent("service-logs", swap(PLUGINS, CALL, "        if not payload:\n            print('an empty payload')\n" + CALL)),
    innocent("route-answers-first", swap(ROUTE, ANALYZED, ANALYZED + "    assert result is not None or envelope is not None\n")),
    innocent("try-around-the-look", added("x", "def go(tool_runner, name):\n    try:\n        return tool_runner.start(name)\n    except KeyError:\n        return None\n", "api/plugin_views.py").edits[0]),
    innocent("try-elsewhere", added("x", "def go(service, name):\n    try:\n        return service.get_plugin(name)\n    except OSError:\n        return None\n", "api/http/plugins.py").edits[0]),
    innocent("error-logged", swap("api/http/jobs.py", STORED, '        _LOG.warning("not stored: %s", error)\n' + STORED)),
    innocent("error-asked-about", swap("api/http/jobs.py", STORED, STORED + "        if is_full(error):\n            message = 'no room'\n")),
    innocent("error-of-ours", append("api/http/bodies.py", "def told(data):\n    try:\n        return strict_json.loads(data)\n    except strict_json.JsonError as error:\n        raise invalid(str(error)) from None\n")),
    innocent("error-named", swap("api/http/jobs.py", STORED, '        message = f"not stored: {type(error).__name__} {error.errno if isinstance(error, OSError) else 0}"\n')),
    innocent("registry-counts-its-own", swap(REGISTRY, "        with self._lock:\n            return sorted(self._entries)\n", "        with self._lock:\n            names = sorted(self._entries)\n        return names\n")),
    innocent("a-file-less", remove("api/cli/samples.py")),
    innocent("a-comment-and-a-space", append(RUNNER, "# update_execution_metrics, plugin.run(payload), eval\n")),
)  # fmt: skip
