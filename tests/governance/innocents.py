"""Edits that break no rule, however much they look like those that do: nothing may be found."""

from __future__ import annotations

from tests.governance.edits import Case, append, innocent, remove, rename, swap
from tests.governance.violations import (
    ANALYSIS,
    ANALYZED,
    BACKEND,
    CALL,
    CALLS,
    CHECK,
    DISPATCHER,
    EXECUTE,
    JOB_ROUTE,
    JOBS,
    PLUGINS,
    RECORD,
    REGISTRY,
    RUN_HEAD,
    RUNNER,
)

CLI_CALL = "        result, envelope = analysis.analyze(plugin, payload, call=call)\n"


def added(name: str, body: str, path: str = DISPATCHER) -> Case:
    """Return a case of some code at the end of a file, or in a new one."""
    return innocent(name, append(path, body))


FULL = (
    "    except QueueFullError as full:\n        raise full_queue(full, wanted.plugin) from None\n"
)

ALL: tuple[Case, ...] = (
    # What else is called run, or is called by table
    added("subprocess", "import subprocess\n\n\ndef go(plugin, payload):\n    return subprocess.run(['git', 'log', plugin], input=payload, check=True)\n"),
    added("asyncio", "import asyncio\n\n\ndef go(main):\n    asyncio.run(main())\n"),
    added("context", "import contextvars\n\n\ndef go(work, plugin):\n    return contextvars.copy_context().run(work, plugin)\n"),
    added("supervisor", "class Supervisor:\n    def run(self):\n        return 0\n\n\ndef go(pool):\n    return pool.submit(Supervisor().run)\n"),
    added("own-run", "def run(payload):\n    return payload\n\n\ndef go(payload):\n    return run(payload)\n"),
    added("pipeline", "class Pipeline:\n    def run(self, payload):\n        return payload\n\n\ndef go(payload):\n    pipeline = Pipeline()\n    return pipeline.run(payload)\n"),
    added("getattr-of-others", "def go(server, name):\n    return getattr(server, name)()\n"),
    added("table-of-views", "VIEWS = {'text': str, 'repr': repr}\n\n\ndef go(kind, status):\n    return VIEWS[kind](status)\n", "api/cli/views/quick.py"),
    added("handlers-of-its-own", "HANDLERS = {'json': {'handler': str}}\n\n\ndef show(kind, value):\n    return HANDLERS[kind]['handler'](value)\n", "api/cli/views/quick.py"),
    added("pipeline-given", "def go(pipeline, payload):\n    return pipeline.run(payload)\n", "runner/jobs/steps.py"),
    added("table-of-a-database", "def rows(plugins, sql):\n    return plugins.execute(sql)\n", "runner/state/quick.py"),
    added("sandbox-as-a-package", "from toolrunner import sandbox\n\nHOME = sandbox.__file__\n", "runner/quick.py"),
    added("sandbox-open-parts", "from toolrunner.sandbox import forks, paths\nfrom toolrunner.sandbox.ending import Ending\n", "runner/quick.py"),
    added("socket", "def go(connection):\n    return connection.recv(4096)\n"),
    added("array-of-numbers", "import numpy as np\n\n\ndef go(path):\n    return np.load(path, allow_pickle=False)\n", "runner/quick.py"),
    added("own-context", "class Timed:\n    def __enter__(self):\n        return self\n\n    def __exit__(self, *found):\n        return None\n\n\ndef go(analysis):\n    with Timed():\n        return analysis.analyze('x', {})\n"),
    added("stack-of-resources", "import contextlib\n\n\ndef go(analysis, path):\n    with contextlib.ExitStack() as stack:\n        file = stack.enter_context(path.open('rb'))\n        return analysis.analyze('x', {'image': file.read()})\n", "runner/reading.py"),
    added("stack-of-all-contexts", "from contextlib import ExitStack, closing\n\n\ndef go(session, begun):\n    with ExitStack() as stack:\n        tool_runner = stack.enter_context(session.tool_runner())\n        return list(stack.enter_context(closing(begun(analysis_of(tool_runner)))))\n", "api/cli/quick.py"),
    added("attributes-set", "class Shown:\n    def __init__(self, work):\n        self.run = work\n\n\ndef go(server, name):\n    server.ran = True\n    setattr(server, name, 1)\n", "api/serve/quick.py"),
    added("partial-of-analyze", "from functools import partial\n\n\ndef go(analysis, pool, payload, call):\n    return pool.submit(partial(analysis.analyze, 'x', payload, call=call))\n", "api/cli/quick.py"),
    added("retention", "class Retention:\n    def __init__(self, store):\n        self._store = store\n\n    def run(self):\n        self._store.clean()\n\n\ndef go(store):\n    Retention(store).run()\n"),
    added("runner-of-others", "def go(bench):\n    own = bench.runner()\n    return own.start('x'), own.run\n", "api/cli/quick.py"),
    added("type-asked", "def go(tool_runner):\n    return type(tool_runner).__name__\n"),
    added("handlers-of-signals", "def go(handlers, number, frame):\n    return handlers[number](number, frame)\n", "api/serve/quick.py"),
    added("jobs-in-a-pool", "def go(pool, check, plugins):\n    return [pool.submit(check, plugin) for plugin in plugins]\n"),
    # Plugins, looked at and handed on
    added("plugin-fields", "def go(plugin, names):\n    return plugin.manifest.name, plugin.path, [getattr(plugin, name) for name in names]\n"),
    added("plugin-asked", "def go(plugin):\n    return callable(getattr(plugin, 'run', None)) and hasattr(plugin, 'run')\n"),
    added("plugin-passed-on", "def go(build, plugin, payload):\n    return build(plugin, payload)\n"),
    added("registry-listed", "def go(registry):\n    return {status.name: status.state for status in registry.list_all()}\n"),
    added("plugin-file-shown", "import subprocess\n\n\ndef go(plugin):\n    subprocess.run(['diff', str(plugin.path), '-'], check=False)\n    return subprocess.run(['uv', 'export', '--script', str(plugin.path)], check=True)\n", "runner/environments/shown.py"),
    added("uv", "import subprocess\n\n\ndef go(uv, plugin):\n    return subprocess.run([uv, 'lock', '--script', str(plugin.path)], check=True)\n", "runner/environments/lock.py"),
    # Imports and loading
    added("pattern-compiled", "from re import compile\n\nPATTERN = compile('a+')\n"),
    added("lazy-import", "from importlib import import_module\n\n\ndef go():\n    return import_module('toolrunner.runner.call').Call, import_module('numpy')\n"),
    added("find-spec", "import importlib.util\n\n\ndef go(name):\n    return importlib.util.find_spec(name) is not None\n"),
    added("pickled", "import pickle\n\n\ndef go(job):\n    return len(pickle.dumps(job))\n"),
    added("loads", "import json\n\n\ndef go(stream, settings):\n    return json.load(stream), settings.load(), json.loads('{}')\n"),
    added("type-checking", "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from toolrunner.runner.tool_runner import ToolRunner\n\n\ndef go(one: 'ToolRunner'):\n    return one\n", "runner/verdict.py"),
    added("new-room", "from toolrunner.plugins.manifest import Manifest\nfrom toolrunner.runner.errors import GovernedError\n\n\ndef go(manifest: Manifest):\n    raise GovernedError\n", "runner/environments/build.py"),
    added("new-door", "from fastapi import APIRouter\n\nfrom toolrunner.runner.services import AnalysisService\n\nrouter = APIRouter()\n\n\n@router.get('/')\ndef page(analysis: AnalysisService):\n    result, envelope = analysis.analyze('x', {})\n    return {'failed': envelope is not None, 'result': result}\n", "api/page/home.py"),
    added("benchmark", "from toolrunner import ToolRunner\n\n\ndef go():\n    with ToolRunner() as tool_runner:\n        return tool_runner.run('palette', {})\n", "scripts/benchmarks/quick.py"),
    # ToolRunner, written otherwise
    innocent("local-renamed", rename(RUNNER, "failure", "problem")),
    innocent("attribute-renamed", rename(RUNNER, "_sandbox", "_confinement")),
    innocent("steps-in-a-helper", swap(RUNNER, CHECK, "            plugin, checked = self._prepared(plugin, payload, call)\n"), swap(RUNNER, "    def _look_up(self", "    def _prepared(self, plugin, payload, call):\n        return plugin, self._validate(plugin, payload, call)\n\n    def _look_up(self")),
    innocent("clock-elsewhere", swap(RUNNER, "round((time.monotonic() - started) * 1000)", "milliseconds_since(started)"), append("runner/clock.py", "import time\n\n\ndef milliseconds_since(started):\n    return round((time.monotonic() - started) * 1000)\n")),
    innocent("payload-renamed", rename(RUNNER, "checked", "ready")),
    innocent("method-renamed", rename(RUNNER, "_call", "_in_a_box")),
    innocent("decorated", swap(RUNNER, RUN_HEAD, "    @logged\n" + RUN_HEAD)),
    innocent("option", swap(RUNNER, RUN_HEAD, RUN_HEAD + ",\n        quiet: bool = False\n")),
    innocent("metrics-with-more", swap(RUNNER, RECORD, "            self.registry.update_execution_metrics(\n                name, state, elapsed_ms, failure is not None, call_id=call.call_id\n            )\n"), swap(REGISTRY, "elapsed_ms: int, had_error: bool\n", "elapsed_ms: int, had_error: bool, *, call_id: str = ''\n")),
    innocent("metrics-by-name", swap(RUNNER, RECORD, "            had_error = failure is not None\n            self.registry.update_execution_metrics(\n                plugin_name=name, state=state, elapsed_ms=elapsed_ms, had_error=had_error\n            )\n            _LOG.debug('recorded')\n")),
    innocent("metrics-timed", swap(RUNNER, RECORD, "            registry = self.registry\n            with self._tracer.span('record'):\n                registry.update_execution_metrics(name, state, elapsed_ms, failure is not None)\n")),
    innocent("steps-in-a-with", swap(RUNNER, CHECK, "            with self._timed():\n                checked = self._validate(plugin, payload, call)\n")),
    innocent("another-handler", swap(RUNNER, "        except GovernedError as error:\n            failure = error\n", "        except GovernedError as error:\n            failure = error\n        except OSError as error:\n            failure = GovernedError(ErrorType.SANDBOX_ERROR, type(error).__name__)\n")),
    # The way, written otherwise
    innocent("service-attribute-renamed", rename(PLUGINS, "_tool_runner", "_runner")),
    innocent("service-argument-renamed", rename(PLUGINS, "plugin_name", "name_of_it")),
    innocent("service-decorated", swap(PLUGINS, "    def execute_plugin(\n", "    @_logged\n    def execute_plugin(\n"), append(PLUGINS, "def _logged(function):\n    @functools.wraps(function)\n    def wrapped(*given, **named):\n        _LOG.debug('%s begins', function.__name__)\n        return function(*given, **named)\n\n    return wrapped\n")),
    innocent("service-in-two-steps", swap(JOBS, EXECUTE, "        result, error = self._plugins.execute_plugin(plugin_name, payload, call=call)\n        return result, error\n")),
    innocent("service-with-finally", swap(PLUGINS, CALL, "        try:\n            result, error = self._tool_runner.run(plugin_name, payload, call=call)\n        finally:\n            self._observed = True\n")),
    innocent("interrupt-in-the-command-line", swap(CALLS, CLI_CALL, "        try:\n            result, envelope = analysis.analyze(plugin, payload, call=call)\n        except KeyboardInterrupt:\n            call.cancel()\n            raise\n")),
    innocent("store-guarded", swap(BACKEND, "        found = self.problems() if problems is None else problems\n", "        try:\n            found = self.problems()\n        except OSError:\n            found = {}\n")),
    innocent("route-asserts", swap("api/http/analyze.py", ANALYZED, ANALYZED + "    assert result is not None or envelope is not None\n")),
    innocent("service-more", append(ANALYSIS, "\n    def analyze_all(self, plugin_name, payloads):\n        return [self.analyze(plugin_name, payload) for payload in payloads]\n")),
    # Objects, envelopes and validation, looked at
    added("class-asked", "import inspect\n\n\ndef about(kind: type) -> str:\n    return f'{kind.__name__}{inspect.signature(kind)}' if callable(kind) else ''\n", "plugins/quick.py"),
    added("finder-called", "from collections.abc import Iterator\n\n\nclass Finder:\n    def __init__(self, found: Iterator[str]) -> None:\n        self._found = found\n\n    def names(self, prefix: str) -> list[str]:\n        return [one for one in self._found if one.startswith(prefix)]\n", "plugins/quick.py"),
    added("built-in-names", "import builtins\n\nNAMES = frozenset(dir(builtins))\n", "runner/quick.py"),
    added("tree-of-a-source", "import ast\n\n\ndef tree(text):\n    return compile(text, '<plugin>', 'exec', ast.PyCF_ONLY_AST)\n", "plugins/quick.py"),
    innocent("type-of-an-error", swap("api/http/analyze.py", ANALYZED, ANALYZED + '    kind = "" if envelope is None else envelope["error"]["type"]\n')),
    innocent("envelope-handed-on", swap("api/http/analyze.py", ANALYZED, ANALYZED + "    _noted(envelope)\n"), append("api/http/analyze.py", "def _noted(failed):\n    if failed is not None:\n        _LOG.info('%s', failed['error']['type'])\n")),
    innocent("checked-in-two-steps", swap(RUNNER, CHECK, "            given = payload\n            checked = self._validate(plugin, given)\n")),
    innocent("checked-before-a-log", swap(RUNNER, CHECK, CHECK + "            if checked.image is None:\n                _LOG.debug('no image')\n")),
    innocent("checked-under-a-clock", swap(RUNNER, CHECK, "            with self._clock:\n    " + CHECK)),
    added("callbacks-given", "class Bell:\n    def __init__(self):\n        self.ring = lambda: None\n\n\ndef go(call, bell, tell):\n    call.on_progress = lambda done, text: tell(done)\n    bell.loudness = 3\n", "runner/quick.py"),
    # Counts and errors of others
    added("last-used", "class Lru:\n    def touch(self, now):\n        self.last_used = now\n        self._entries = {}\n        self._entries.clear()\n", "plugins/cache.py"),
    added("error-count", "def go(report, entries):\n    report.error_count += 1\n    entries[0].success_count = 1\n", CALLS),
    innocent("traceback-logged", swap("api/http/analyze.py", ANALYZED, ANALYZED + '    if envelope is not None:\n        _LOG.debug("%s: %s", call.call_id, envelope["_internal"]["traceback"])\n')),
    innocent("callback-guarded", swap(JOBS, "            self._on_created()\n", "            try:\n                self._on_created()\n            except RuntimeError:\n                _LOG.exception('nobody was told of a job')\n")),
    innocent("error-logged", swap(JOB_ROUTE, FULL, '    except OSError as error:\n        import logging\n        logging.getLogger("toolrunner.http").warning("not stored: %s", error)\n        raise\n' + FULL)),
    innocent("error-named", swap(JOB_ROUTE, FULL, '    except OSError as error:\n        message = f"not stored: {type(error).__name__} {error.errno}"\n        raise RequestError(ErrorType.INTERNAL_ERROR, message, plugin=wanted.plugin) from None\n' + FULL)),
    added("error-of-ours", "def told(data):\n    try:\n        return strict_json.loads(data)\n    except strict_json.JsonError as error:\n        raise invalid(str(error)) from None\n", "api/http/bodies.py"),
    added("text-in-the-command-line", "def told(path):\n    try:\n        return path.read_text()\n    except OSError as error:\n        return str(error)\n", "api/cli/payloads.py"),
    innocent("a-file-less", remove("api/cli/progress.py")),
    added("called-later", "def go(loop, timer, job, note):\n    loop.call_later(1.0, note, job)\n    loop.call_soon(note)\n    return timer(0.5, note)\n", DISPATCHER),
    added("copies", "from copy import copy\nfrom dataclasses import replace\n\n\ndef go(status, settings):\n    return copy(settings), replace(status, name='x')\n"),
    added("envelope-looked-at", "def trace_of(envelope):\n    shown = {'error': envelope['error']}\n    shown['trace'] = envelope['_internal']['traceback']\n    return shown\n", "api/cli/outcomes.py"),
    added("marks-of-a-process", "class Watched:\n    def __init__(self) -> None:\n        self.state = ''\n\n    def mark_running(self) -> None:\n        self.state = 'RUNNING'\n\n    def began(self) -> None:\n        self.mark_running()\n\n\ndef watch(child: Watched) -> None:\n    child.mark_running()\n\n\ndef go():\n    one = Watched()\n    one.mark_running()\n    watch(one)\n", "api/serve/watching.py"),
    added("helper-logged-and-raised", "def _go(analysis, name, payload):\n    return analysis.analyze(name, payload)\n\n\ndef go(analysis, name, payload, log):\n    try:\n        return _go(analysis, name, payload)\n    except Exception:\n        log.exception('a bug')\n        raise\n", "api/cli/quick.py"),
    added("helper-of-the-same-name", "class Door:\n    def go(self, name, payload):\n        return self._analysis.analyze(name, payload)\n\n\ndef told(file):\n    try:\n        return file.go('x')\n    except OSError:\n        return ''\n", "api/cli/quick.py"),
    added("generator-that-keeps-nothing", "import contextlib\n\n\n@contextlib.contextmanager\ndef timed():\n    try:\n        yield\n    finally:\n        print('ended')\n\n\n@timed()\ndef go(analysis, name, payload):\n    with timed():\n        return analysis.analyze(name, payload)\n", "api/cli/quick.py"),
    added("entries-of-others", "def go(folder, counts, audit):\n    audit.record(folder.name)\n    counts.begin('x')\n    return getattr(folder, 'entries')\n", "api/quick.py"),
    innocent("a-comment", append(RUNNER, "# update_execution_metrics, plugin.run(payload), eval, pickle.loads\n")),
)  # fmt: skip
