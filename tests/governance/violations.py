"""Ways past governed execution, as people take them; each is found by the rule it is named after."""

from __future__ import annotations

from tests.governance.edits import Case, append, mutant, remove, swap

RUNNER = "runner/tool_runner.py"
REGISTRY = "runner/registry/registry.py"
ANALYSIS = "runner/services/analysis.py"
JOBS = "runner/services/job_management.py"
PLUGINS = "runner/services/plugin_management.py"
BACKEND = "runner/services/backend.py"
DISPATCHER = "runner/jobs/dispatcher.py"
ROUTE = "api/http/analyze.py"
JOB_ROUTE = "api/http/jobs.py"
CALLS = "api/cli/calls.py"

RUN_HEAD = "    def run(\n        self, plugin_name: str, payload: Mapping[str, Any], *, call: Call | None = None\n"
RECORD = """\
            with _apart(call):
                self.registry.update_execution_metrics(name, state, elapsed_ms, failure is not None)
"""
CALL = "        result, error = self._tool_runner.run(plugin_name, payload, call=call)\n"
EXECUTE = "        return self._plugins.execute_plugin(plugin_name, payload, call=call)\n"
RUN_JOB = "        return self._jobs.run_job(plugin_name, payload, call=call)\n"
ANALYZED = "    result, envelope = doors.backend.analysis.analyze(wanted.plugin, wanted.payload, call=call)\n"
JOB_RUN = (
    "        result, error = self._analysis.analyze(claim.job.plugin, payload, call=running.call)\n"
)
ANSWERED = (
    '        error = asking.told(wanted.plugin, envelope["error"], known)\n'
    "        response = shown(Answered(wanted, call, error=error))\n"
)
ENDINGS = "runner/jobs/endings.py"
KEPT = '    return for_the_caller(envelope["error"])\n'
CHECK = "            checked = self._validate(plugin, payload, call)\n"


def added(rule: str, name: str, body: str, path: str = PLUGINS) -> Case:
    """Return a case of code at the end of a file, or in a new one."""
    return mutant(rule, name, append(path, body))


def swapped(rule: str, name: str, path: str, old: str, new: str) -> Case:
    """Return a case of one place that is written otherwise."""
    return mutant(rule, name, swap(path, old, new))


DIRECT = (
    added("P12-DIRECT-RUN", "class-made", "def about(name: str, kind: type) -> str:\n    made = kind()\n    return f'{name}: {made}'\n", "plugins/quick.py"),
    added("P12-DIRECT-RUN", "part-of-an-object", "from typing import Any\n\n\ndef ready(given: Any) -> bool:\n    look = getattr(given, 'ready', None)\n    return look is None or look()\n", "runner/registry/quick.py"),
    added("P12-DIRECT-RUN", "object-warmed-up", "def warmed(given: object) -> None:\n    given.warm_up()\n", "plugins/quick.py"),
    added("P12-DIRECT-RUN", "plugin-warmed-up", "def warmed(plugin):\n    steps = [plugin.warm_up, plugin.run_batch]\n    return steps\n"),
    added("P12-PLUGIN-CODE", "built-in-from-a-table", "def go(path):\n    table = __builtins__\n    return dict(table)['ex' + 'ec'](path.read_text())\n", "plugins/quick.py"),
    added("P12-PLUGIN-CODE", "built-in-by-a-text", "import builtins\n\n\ndef go(path, verb):\n    return getattr(builtins, verb)(path.read_text())\n", "runner/quick.py"),
    added("P12-PLUGIN-CODE", "built-in-of-a-frame", "def go(path, verb):\n    return globals()['__builtins__'][verb](path.read_text())\n", "api/quick.py"),
    added("P12-PLUGIN-CODE", "native-part", "import ctypes\n\n\ndef loads(path):\n    return ctypes.CDLL(str(path))\n", "plugins/quick.py"),
    added("P12-PLUGIN-CODE", "compiled", "import marshal\n\n\ndef kept(path):\n    return marshal.dumps(compile(path.read_text(), str(path), 'exec'))\n", "plugins/quick.py"),
    added("P12-DIRECT-RUN", "methodcaller-of-a-name", "from operator import methodcaller\n\n\ndef go(it, data, *, verb='run'):\n    return methodcaller(verb, data)(it)\n", REGISTRY),
    added("P12-DIRECT-RUN", "getattr-of-anything", "from functools import partial\n\n\ndef adopt(thing):\n    step = getattr(thing, 'run', None) or thing\n    return partial(step)\n", DISPATCHER),
    added("P12-DIRECT-RUN", "instance-got", "def instance_of(tool_runner, name):\n    return tool_runner.registry.get(name)\n"),
    added("P12-PLUGIN-CODE", "entry-point-held", "def version(offer):\n    resolve = offer.point.load\n    return resolve().VERSION\n", "plugins/installed.py"),
    added("P12-PLUGIN-CODE", "process-in-the-sandbox", "import subprocess\nimport sys\n\n\ndef go(source):\n    return subprocess.run([sys.executable, '-'], input=source)\n", "sandbox/modes/cold.py"),
    added("P12-SERVICES", "getattr-of-one-of-two", "def go(service, call):\n    return getattr(service, 'analyze' if call else 'execute_plugin')\n", ROUTE),
    added("P12-SERVICES", "all-attributes", "def go(backend, run):\n    backend.__dict__['runner'].run = run\n", "api/serve/worker.py"),
    added("P12-SERVICES", "found-in-the-heap", "import gc\n\n\ndef go(name, payload):\n    found = [one for one in gc.get_objects() if type(one).__name__ == 'ToolRunner']\n    return found[0].run(name, payload)\n", "api/http/quick.py"),
    added("P12-SERVICES", "found-in-a-frame", "import sys\n\n\ndef go():\n    return sys._getframe(1).f_locals['self']\n", "runner/quick.py"),
    added("P12-SERVICES", "vars", "def go(registry, name):\n    return vars(registry)['entries'][name]\n"),
    added("P12-IMPORTS", "text-put-together", "import importlib\n\n\ndef go(door):\n    return importlib.import_module(f'toolrunner.api.{door}.errors')\n", DISPATCHER),
    added("P12-DIRECT-RUN", "plain", "def go(plugin, payload):\n    return plugin.run(payload)\n"),
    added("P12-DIRECT-RUN", "looked-up", "def go(registry, name, data):\n    one = registry.get(name)\n    it = one\n    return it.run(data)\n"),
    added("P12-DIRECT-RUN", "kept", "class Fast:\n    def __init__(self, registry):\n        self._it = registry.get('x')\n\n    def go(self, data):\n        return self._it.run(data)\n", "runner/jobs/fast.py"),
    added("P12-DIRECT-RUN", "table", "def go(tools, name, payload):\n    return tools[name]['handler'](payload)\n", DISPATCHER),
    added("P12-DIRECT-RUN", "table-of-plugin", "def go(plugin, name, **arguments):\n    return plugin.tools[name]['handler'](**arguments)\n", JOBS),
    added("P12-DIRECT-RUN", "table-of-runs", "def go(plugins, name, data):\n    runs = {one.name: one.run for one in plugins}\n    return runs[name](data)\n"),
    added("P12-DIRECT-RUN", "executor", "def go(pool, plugin, payload):\n    return pool.submit(plugin.run, payload).result()\n", DISPATCHER),
    added("P12-DIRECT-RUN", "thread", "import asyncio\n\n\nasync def go(plugin, payload):\n    return await asyncio.to_thread(plugin.run, payload)\n", ROUTE),
    added("P12-DIRECT-RUN", "event-loop", "async def go(loop, plugin, payload):\n    return await loop.run_in_executor(None, plugin.run, payload)\n", JOB_ROUTE),
    added("P12-DIRECT-RUN", "process", "import multiprocessing\n\n\nclass Fast:\n    def go(self):\n        multiprocessing.Process(target=self._plugin.run, args=({},)).start()\n"),
    added("P12-DIRECT-RUN", "getattr", "def go(plugin, method, payload):\n    return getattr(plugin, method)(payload)\n"),
    added("P12-DIRECT-RUN", "methodcaller", "import operator\n\n\ndef go(it, data):\n    return operator.methodcaller('run', data)(it)\n"),
    added("P12-DIRECT-RUN", "instance-called", "def go(registry, name, payload):\n    return registry.get(name)(payload)\n"),
    added("P12-DIRECT-RUN", "run-tool", "def go(plugin, arguments):\n    return plugin.run_tool('ocr', arguments)\n"),
    added("P12-DIRECT-RUN", "class", "def go(plugin, payload):\n    return type(plugin).run(plugin, payload)\n"),
    added("P12-DIRECT-RUN", "loop", "def go(registry, data):\n    for name in registry.list_plugins():\n        registry.get(name).run(data)\n", "runner/sweep.py"),
    added("P12-DIRECT-RUN", "map", "def go(plugins, data):\n    return list(map(lambda one: one.run(data), plugins))\n"),
    added("P12-DIRECT-RUN", "table-got", "def go(tools, name, payload):\n    handler = tools.get(name)['handler']\n    return handler(payload)\n", JOBS),
    added("P12-DIRECT-RUN", "any", "from typing import Any\n\n\ndef go(one: Any, payload: dict) -> Any:\n    return one.run(payload)\n"),
    added("P12-DIRECT-RUN", "protocol", "from typing import Protocol\n\n\nclass Runnable(Protocol):\n    def run(self, payload): ...\n\n\ndef go(one: Runnable, payload):\n    return one.run(payload)\n"),
    added("P12-DIRECT-RUN", "starmap", "import itertools\n\n\ndef go(plugins, payloads):\n    return list(itertools.starmap(lambda p, d: p.run(d), zip(plugins, payloads)))\n"),
    added("P12-DIRECT-RUN", "gathered", "import asyncio\n\n\nasync def go(plugins, payload):\n    return await asyncio.gather(*(asyncio.to_thread(p.run, payload) for p in plugins))\n"),
    added("P12-DIRECT-RUN", "class-table", "PLUGINS = {}\n\n\ndef register(cls):\n    PLUGINS[cls.name] = cls\n    return cls\n\n\ndef go(name, payload):\n    return PLUGINS[name]().run(payload)\n", "runner/fast.py"),
    added("P12-DIRECT-RUN", "payload-says-it", "def go(it, payload):\n    return it.run(payload)\n"),
    added("P12-DIRECT-RUN", "pytest-plugin", "def quick(plugin, payload):\n    return plugin.run(payload)\n", "toolrunner/pytest_plugin/quick.py"),
    added("P12-DIRECT-RUN", "script", "def quick(plugin):\n    return plugin.run({})\n", "scripts/quick.py"),
    added("P12-DIRECT-RUN", "new-package", "def quick(plugin):\n    return plugin.run({})\n", "extras/deep/er/quick.py"),
    added("P12-DIRECT-RUN", "helper", "def run_it(it, data):\n    return it.run(data)\n\n\ndef go(plugin, data):\n    return run_it(plugin, data)\n"),
    swapped("P12-DIRECT-RUN", "in-the-choke-point", RUNNER, "            ending = self._call(name, plugin, checked, call, reader)\n", "            ending = self.registry.get(name).run(checked)\n"),
    added("P12-DIRECT-RUN", "static-attribute", "import inspect\n\n\ndef go(registry, name, data):\n    it = registry.get(name)\n    return inspect.getattr_static(it, 'run')(it, data)\n"),
    added("P12-DIRECT-RUN", "name-in-a-constant", "METHOD = 'run'\n\n\ndef go(registry, name, data):\n    act = getattr(registry.get(name), METHOD)\n    return act(data)\n"),
    added("P12-DIRECT-RUN", "matched", "def go(registry, name, data):\n    match registry.get(name):\n        case object(run=entry):\n            return entry(data)\n"),
    added("P12-DIRECT-RUN", "table-filled", "KEPT = {}\n\n\ndef learn(registry):\n    for name in registry.list_plugins():\n        KEPT[name] = registry.get(name)\n\n\ndef go(name, data):\n    return KEPT[name].run(data)\n"),
    added("P12-DIRECT-RUN", "list-filled", "KEPT = []\n\n\ndef learn(registry, name):\n    KEPT.append(registry.get(name))\n\n\ndef go(data):\n    return KEPT[0].run(data)\n"),
    added("P12-DIRECT-RUN", "field-given", "from dataclasses import dataclass\n\n\n@dataclass\nclass Task:\n    target: object\n    data: dict\n\n    def go(self):\n        return self.target.run(self.data)\n\n\ndef go(registry, name, data):\n    return Task(registry.get(name), data=data).go()\n", "runner/fast.py"),
    added("P12-DIRECT-RUN", "parameter-given", "class Task:\n    def __init__(self, *, target):\n        self.held = target\n\n    def go(self, data):\n        return self.held.run(data)\n\n\ndef go(registry, name, data):\n    return Task(target=registry.get(name)).go(data)\n", "runner/fast.py"),
    added("P12-DIRECT-RUN", "yielded", "def all_of(registry):\n    for name in registry.list_plugins():\n        yield registry.get(name)\n\n\ndef go(registry, data):\n    return [it.run(data) for it in all_of(registry)]\n"),
    mutant("P12-DIRECT-RUN", "looked-up-elsewhere", append("runner/held.py", "def current(registry, name):\n    return registry.get(name)\n"), append("runner/fast.py", "from toolrunner.runner.held import current\n\n\ndef go(registry, name, data):\n    return current(registry, name).run(data)\n")),
    swapped("P12-DIRECT-RUN", "called-by-a-timer", REGISTRY, "            return self._entries[name].instance\n", "            found: Any = self._entries[name].instance\n        threading.Timer(0, found, ({},)).start()\n        return found\n"),
    added("P12-DIRECT-RUN", "called-by-an-event-loop", "def go(loop, registry, name):\n    found = registry.plugin(name)\n    loop.call_later(1.0, found, {})\n", DISPATCHER),
    mutant("P12-DIRECT-RUN", "worker-gone", remove("sandbox/inside/worker.py")),
)  # fmt: skip

CODE = (
    added("P12-PLUGIN-CODE", "pickle", "import pickle\n\n\ndef go(blob, payload):\n    made = pickle.loads(blob)\n    return made(payload)\n", DISPATCHER),
    added("P12-PLUGIN-CODE", "unpickler", "import pickle\n\n\nclass Safe(pickle.Unpickler):\n    pass\n\n\ndef go(file):\n    return Safe(file).load()\n", DISPATCHER),
    added("P12-PLUGIN-CODE", "located", "from pydoc import locate\n\n\ndef go(name):\n    return locate(name)\n", "plugins/fast.py"),
    added("P12-PLUGIN-CODE", "exec-by-name", "import builtins\n\n\ndef go(text):\n    getattr(builtins, 'exec')(text)\n", "plugins/fast.py"),
    added("P12-PLUGIN-CODE", "import-module", "import importlib\n\n\ndef go(name, payload):\n    return importlib.import_module(name)\n", "plugins/quick.py"),
    added("P12-PLUGIN-CODE", "import-alias", "from importlib import import_module as bring\n\n\ndef go(name):\n    return bring(name)\n", "plugins/quick.py"),
    added("P12-PLUGIN-CODE", "entry-point", "from importlib.metadata import entry_points\n\n\ndef go():\n    return [point.load() for point in entry_points(group='toolrunner.plugins')]\n", "plugins/installed.py"),
    added("P12-PLUGIN-CODE", "exec", "def go(path):\n    space = {}\n    exec(path.read_text(), space)\n    return space\n", "plugins/discovery.py"),
    added("P12-PLUGIN-CODE", "runpy", "import runpy\n\n\ndef go(path):\n    return runpy.run_path(path)\n", "plugins/discovery.py"),
    added("P12-PLUGIN-CODE", "spec", "import importlib.util as tools\n\n\ndef go(path):\n    spec = tools.spec_from_file_location('p', path)\n    return tools.module_from_spec(spec)\n", "plugins/discovery.py"),
    added("P12-PLUGIN-CODE", "bundled", "from toolrunner.plugins.bundled import barcode\n"),
    added("P12-PLUGIN-CODE", "worker-started", "import subprocess\nimport sys\nfrom pathlib import Path\n\nWORKER = Path('sandbox') / 'inside' / 'worker.py'\n\n\ndef go():\n    return subprocess.run([sys.executable, str(WORKER)], check=True)\n", "runner/quick.py"),
    added("P12-PLUGIN-CODE", "launcher-started", "import subprocess\nimport sys\n\nfrom toolrunner.sandbox.spawn import LAUNCH\n\n\ndef go():\n    return subprocess.Popen([sys.executable, '-I', LAUNCH])\n", "api/http/quick.py"),
    added("P12-PLUGIN-CODE", "worker-imported", "from toolrunner.sandbox.inside import worker\n\n\ndef go(load):\n    return worker.load(load)\n", "runner/quick.py"),
    added("P12-PLUGIN-CODE", "import-relative", "from importlib import import_module\n\n\ndef go():\n    return import_module('.barcode', 'toolrunner.plugins.bundled').MANIFEST\n", "runner/quick.py"),
    added("P12-PLUGIN-CODE", "received", "from multiprocessing import Pipe\n\n\ndef go(data):\n    ours, theirs = Pipe()\n    return ours.recv()(data)\n", DISPATCHER),
    added("P12-PLUGIN-CODE", "array", "import numpy as np\n\n\ndef go(path):\n    return np.load(path, allow_pickle=True).item()\n", "runner/quick.py"),
    added("P12-PLUGIN-CODE", "function-made", "import types\n\n\ndef go(path):\n    types.FunctionType(compile(path.read_text(), '', 'exec'), {})()\n", "plugins/discovery.py"),
    added("P12-PLUGIN-CODE", "folder-started", "import subprocess\nimport sys\nfrom pathlib import Path\n\n\ndef go(root, part):\n    folder = Path(root) / 'inside'\n    return subprocess.run([sys.executable, str(folder / part)], check=True)\n", "runner/quick.py"),
    added("P12-PLUGIN-CODE", "path-started", "import subprocess\nimport sys\n\n\ndef go(plugin_path, text):\n    return subprocess.run([sys.executable, plugin_path], input=text, check=True)\n", "runner/quick.py"),
    added("P12-PLUGIN-CODE", "file-run-by-uv", "import subprocess\n\n\ndef go(plugin):\n    return subprocess.run(['uv', 'run', '--script', str(plugin.path)], check=True)\n", "runner/environments/quick.py"),
    added("P12-PLUGIN-CODE", "file-run-by-node", "import subprocess\n\n\ndef go(plugin, text):\n    return subprocess.run(['node', plugin.path / 'main.mjs'], input=text, check=True)\n", "runner/quick.py"),
    added("P12-PLUGIN-CODE", "file-is-the-program", "import subprocess\n\n\ndef go(plugin, text):\n    return subprocess.run([str(plugin.path)], input=text, check=True)\n", "runner/quick.py"),
    added("P12-PLUGIN-CODE", "file-in-a-terminal", "import pty\nimport sys\n\n\ndef go(plugin):\n    return pty.spawn([sys.executable, str(plugin.path)])\n", "api/cli/quick.py"),
    added("P12-PLUGIN-CODE", "frame-unpickled", "import pandas as pd\n\n\ndef go(call):\n    return pd.read_pickle(call.scratch / 'table.pkl')\n", "runner/quick.py"),
    added("P12-PLUGIN-CODE", "folder-of-sites", "import site\n\n\ndef go(plugin):\n    site.addsitedir(str(plugin.path))\n", "plugins/quick.py"),
    added("P12-PLUGIN-CODE", "source-interpreted", "import code\n\n\ndef go(path):\n    code.InteractiveInterpreter().runsource(path.read_text(), symbol='exec')\n", "api/cli/quick.py"),
    added("P12-PLUGIN-CODE", "file-started", "import subprocess\nimport sys\n\n\ndef go(plugin, text):\n    return subprocess.run([sys.executable, str(plugin.path)], input=text, check=True)\n", "runner/quick.py"),
)  # fmt: skip

TOOL_RUNNER = (
    added("P12-TOOLRUNNER", "method-of-a-class-replaced", "def hush(kind):\n    kind.record = lambda *_, **__: None\n", BACKEND),
    added("P12-TOOLRUNNER", "function-of-a-module-replaced", "from toolrunner.runner.payloads import validation\n\n\ndef fine(*_):\n    return None\n\n\ndef go():\n    validation.check_size = fine\n", "api/serve/quick.py"),
    added("P12-TOOLRUNNER", "function-set-by-text", "def go(kind):\n    setattr(kind, 'begin', lambda self: None)\n", "runner/quick.py"),
    added("P12-TOOLRUNNER", "second-class", "class ToolRunner:\n    def run(self, plugin_name, payload):\n        return {}, None\n", "api/http/quick.py"),
    added("P12-TOOLRUNNER", "second-one", "from toolrunner.runner.tool_runner import ToolRunner\n\n\ndef go(settings):\n    return ToolRunner(settings=settings)\n", ROUTE),
    added("P12-TOOLRUNNER", "by-another-name", "from toolrunner.runner.tool_runner import ToolRunner as Engine\n\n\ndef go(registry):\n    return Engine(registry)\n", ROUTE),
    added("P12-TOOLRUNNER", "derived", "from toolrunner.runner.tool_runner import ToolRunner\n\n\nclass FastRunner(ToolRunner):\n    def run(self, plugin_name, payload, *, call=None):\n        return {}, None\n", "api/cli/session.py"),
    added("P12-TOOLRUNNER", "patched", "def patch(quick):\n    ToolRunner.run = quick\n", BACKEND),
    added("P12-TOOLRUNNER", "patched-by-name", "def patch(tool_runner, quick):\n    setattr(tool_runner, 'run', quick)\n", BACKEND),
    mutant("P12-TOOLRUNNER", "gone", remove(RUNNER)),
    swapped("P12-TOOLRUNNER", "renamed", RUNNER, "class ToolRunner:", "class PluginRunner:"),
    swapped("P12-TOOLRUNNER", "swapped", RUNNER, RUN_HEAD, "    def run(self, payload, plugin_name, *, call=None\n"),
    swapped("P12-TOOLRUNNER", "needs-more", RUNNER, RUN_HEAD, "    def run(self, plugin_name: str, payload: Any, *, call: Call\n"),
    swapped("P12-TOOLRUNNER", "async", RUNNER, RUN_HEAD, RUN_HEAD.replace("def run", "async def run")),
    swapped("P12-TOOLRUNNER", "static", RUNNER, RUN_HEAD, "    @staticmethod\n" + RUN_HEAD),
    swapped("P12-TOOLRUNNER", "second-way", RUNNER, "    def warm_up(self", "    def run_quickly(self, plugin, payload):\n        return self._call(plugin, payload, Call())\n\n    def warm_up(self"),
    added("P12-TOOLRUNNER", "run-of-another-replaced", "def traced(runner, quick):\n    setattr(runner, 'run', quick)\n", "api/serve/quick.py"),
    added("P12-TOOLRUNNER", "way-of-another-replaced", "def traced(backend, quick):\n    backend.analysis.analyze = quick(backend.analysis)\n", "api/serve/quick.py"),
    added("P12-TOOLRUNNER", "run-of-a-class-mocked", "from unittest import mock\n\n\ndef traced(kind, quick):\n    return mock.patch.object(kind, 'run', quick)\n", "api/serve/quick.py"),
    added("P12-TOOLRUNNER", "replaced-in-a-loop", "def traced(one, quick):\n    for step in ('run', 'arun'):\n        setattr(one, step, quick)\n", "runner/quick.py"),
    added("P12-TOOLRUNNER", "by-a-variable", "from toolrunner.runner.tool_runner import ToolRunner\n\n\ndef go(registry):\n    made = ToolRunner\n    return made(registry)\n", DISPATCHER),
    mutant("P12-TOOLRUNNER", "copied", swap(BACKEND, "PluginManagementService(self._tool_runner, observer", "PluginManagementService(copy(self._tool_runner), observer"), swap(BACKEND, "from contextlib import ExitStack\n", "from contextlib import ExitStack\nfrom copy import copy\n")),
    added("P12-TOOLRUNNER", "by-its-type", "def go(tool_runner):\n    return type(tool_runner)(tool_runner.registry)\n", "runner/verdict.py"),
    added("P12-TOOLRUNNER", "by-its-class", "def go(tool_runner):\n    return tool_runner.__class__(tool_runner.registry)\n", "runner/verdict.py"),
    added("P12-TOOLRUNNER", "derived-by-type", "from toolrunner.runner.tool_runner import ToolRunner\n\nQuick = type('Quick', (ToolRunner,), {'run': lambda self, plugin_name, payload: ({}, None)})\n", "api/cli/session.py"),
    added("P12-TOOLRUNNER", "patched-in-its-dict", "def go(tool_runner, quick):\n    tool_runner.__dict__['run'] = quick\n", BACKEND),
    added("P12-TOOLRUNNER", "patched-in-its-vars", "def go(tool_runner, quick):\n    vars(tool_runner)['run'] = quick\n", BACKEND),
    added("P12-TOOLRUNNER", "backend-of-a-route", "from toolrunner.runner.services.backend import Backend\n\n\ndef go(doors, wanted):\n    with Backend(doors.backend.settings) as own:\n        return own.analysis.analyze(wanted.plugin, wanted.payload)\n", ROUTE),
    added("P12-TOOLRUNNER", "sandbox-called", "def go(tool_runner, program, limits, request):\n    return tool_runner._sandbox.call(program, limits, request)\n"),
    added("P12-TOOLRUNNER", "sandbox-made", "from toolrunner.sandbox.sandbox import Sandbox\n\n\ndef go(program, limits, request):\n    with Sandbox() as box:\n        return box.call(program, limits, request)\n", DISPATCHER),
)  # fmt: skip

STRIPPED = RECORD.splitlines()[-1].strip()
UNRECORDED = {
    "gone": "",
    "in-a-branch": f"            if failure is None:\n                {STRIPPED}\n",
    "in-a-function": f"            def record():\n                {STRIPPED}\n            record()\n",
    "suppressed": f"            with contextlib.suppress(Exception):\n                {STRIPPED}\n",
    "lazily": f"            self._settings.caps and {STRIPPED}\n",
    "after-a-return": f"            if not name:\n                return None, {{}}\n{RECORD}",
    "three-arguments": RECORD.replace(", failure is not None", ""),
    "after-an-assertion": f"            assert name\n{RECORD}",
    "twice": RECORD + "            self.registry.update_execution_metrics(name, state, 0, True)\n",
    "in-a-thread": "            threading.Thread(target=self.registry.update_execution_metrics, args=(name, state, elapsed_ms, failure is not None)).start()\n",
}
METRICS = (
    *(swapped("P12-METRICS", name, RUNNER, RECORD, new) for name, new in UNRECORDED.items()),
    swapped("P12-METRICS", "in-the-else", RUNNER, "        finally:\n            elapsed_ms", "        else:\n            elapsed_ms"),
    added("P12-METRICS", "by-a-door", "def note(registry, name):\n    registry.update_execution_metrics(name, 'FAILED', 0, True)\n", CALLS),
    added("P12-METRICS", "second", "from toolrunner.runner.registry.registry import PluginRegistry\n\n\nclass Quiet(PluginRegistry):\n    def update_execution_metrics(self, plugin_name, state, elapsed_ms, had_error):\n        pass\n", BACKEND),
    added("P12-METRICS", "patched", "def hush(registry):\n    registry.update_execution_metrics = print\n", BACKEND),
    added("P12-METRICS", "state-set", "def aside(registry, name):\n    registry.mark_unavailable(name, 'it took too long')\n"),
    added("P12-METRICS", "state-set-by-text", "def well(backend, name):\n    getattr(backend.registry, 'mark_initialized')(name)\n", "api/http/plugins.py"),
    added("P12-METRICS", "counts-reached-for", "def better(tool_runner, name):\n    tool_runner.registry._entries[name].error_count = 0\n", "api/http/plugins.py"),
)  # fmt: skip

WAY = (
    swapped("P12-SERVICES", "jobs-past-plugins", JOBS, EXECUTE, "        return self._tool_runner.run(plugin_name, payload, call=call)\n"),
    swapped("P12-SERVICES", "analysis-past-jobs", ANALYSIS, RUN_JOB, "        return self._plugins.execute_plugin(plugin_name, payload, call=call)\n"),
    swapped("P12-SERVICES", "route-past-analysis", ROUTE, "doors.backend.analysis.analyze(", "doors.backend.jobs.run_job("),
    swapped("P12-SERVICES", "route-to-plugins", ROUTE, "doors.backend.analysis.analyze(", "doors.backend.plugins.execute_plugin("),
    swapped("P12-SERVICES", "job-past-analysis", JOB_ROUTE, "doors.backend.analysis.submit(", "doors.backend.jobs.create_job("),
    added("P12-SERVICES", "dispatcher-past-analysis", "def quick(jobs, claim):\n    return jobs.run_job(claim.job.plugin, claim.payload)\n", DISPATCHER),
    added("P12-SERVICES", "tool-runner-in-a-route", "def go(tool_runner, wanted):\n    return tool_runner.run(wanted.plugin, wanted.payload)\n", JOB_ROUTE),
    added("P12-SERVICES", "runner-given-by-a-method", "def go(session, pool, names, payloads):\n    with session.tool_runner() as it:\n        return list(pool.map(it.run, names, payloads))\n", "api/cli/outcomes.py"),
    added("P12-SERVICES", "by-name", "def go(doors, wanted):\n    return getattr(doors.backend.jobs, 'run_job')(wanted.plugin, wanted.payload)\n", ROUTE),
    swapped("P12-SERVICES", "jobs-run-it", JOBS, EXECUTE, "        return self._engine.run(plugin_name, dict(payload))\n" + EXECUTE),
    mutant("P12-SERVICES", "service-gone", remove(ANALYSIS)),
)  # fmt: skip

QUIET = """class _Quiet:
    def __enter__(self):
        return self

    def __exit__(self, *found):
        return True
"""
GUARDS = {
    "stack": "        result = error = None\n        with contextlib.ExitStack() as stack:\n            stack.push(lambda *found: True)\n            result, error = self._tool_runner.run(plugin_name, payload, call=call)\n",
    "except": "        try:\n            result, error = self._tool_runner.run(plugin_name, payload, call=call)\n        except Exception:\n            result, error = {}, None\n",
    "base": "        try:\n            result, error = self._tool_runner.run(plugin_name, payload, call=call)\n        except BaseException as bug:\n            result, error = {'bug': type(bug).__name__}, None\n",
    "suppress": "        result = error = None\n        with contextlib.suppress(Exception):\n            result, error = self._tool_runner.run(plugin_name, payload, call=call)\n",
}  # fmt: skip
TRY_AROUND = (
    *(swapped("P12-TRY-AROUND", name, PLUGINS, CALL, new) for name, new in GUARDS.items()),
    mutant("P12-TRY-AROUND", "context-of-its-own", swap(DISPATCHER, JOB_RUN, f"        with _Quiet():\n    {JOB_RUN}"), append(DISPATCHER, QUIET)),
    swapped("P12-TRY-AROUND", "in-the-dispatcher", DISPATCHER, JOB_RUN, f"        try:\n    {JOB_RUN}        except Exception:\n            result, error = None, None\n"),
    swapped("P12-TRY-AROUND", "in-the-command-line", CALLS, "        result, envelope = analysis.analyze(plugin, payload, call=call)\n", "        try:\n            result, envelope = analysis.analyze(plugin, payload, call=call)\n        except Exception:\n            result, envelope = {}, None\n"),
)  # fmt: skip

RAW = (
    swapped("P12-RAW-ERROR", "parts-of-an-envelope", ROUTE, ANSWERED, '        error, hidden = envelope.values()\n        response = governed({**error, "more": hidden})\n'),
    swapped("P12-RAW-ERROR", "envelope-by-a-key", ROUTE, ANSWERED, '        response = governed({k: v for part in envelope for k, v in envelope[part].items()})\n'),
    swapped("P12-RAW-ERROR", "envelope-by-another-name", ROUTE, ANALYZED, ANALYZED.replace("envelope", "failed") + "    request.state.failed = failed\n    envelope = failed\n"),
    swapped("P12-RAW-ERROR", "envelope-kept-with-a-job", ENDINGS, KEPT, '    return {**envelope["error"], "all": [*envelope.values()]}\n'),
    mutant("P12-RAW-ERROR", "text", swap(JOB_ROUTE, "    except QueueFullError as full:\n        raise full_queue(full, wanted.plugin) from None\n", "    except OSError as error:\n        raise RequestError(ErrorType.INTERNAL_ERROR, str(error), plugin=wanted.plugin) from None\n")),
    mutant("P12-RAW-ERROR", "f-string", swap(JOB_ROUTE, "    except QueueFullError as full:\n        raise full_queue(full, wanted.plugin) from None\n", '    except OSError as error:\n        message = f"the job could not be stored: {error}"\n        raise RequestError(ErrorType.INTERNAL_ERROR, message, plugin=wanted.plugin) from None\n')),
    added("P12-RAW-ERROR", "traceback", "import traceback\n\n\ndef shown():\n    return JSONResponse({'detail': traceback.format_exc()})\n", "api/http/errors.py"),
    *(
        added("P12-RAW-ERROR", name, f"import sys\n\n\ndef told(path):\n    try:\n        return JSONResponse(path.read_text())\n    except OSError as error:\n        {body}\n", "api/http/errors.py")
        for name, body in {
            "method": "message = error.__str__()\n        return JSONResponse({'detail': message}, 500)",
            "from-sys": "return JSONResponse({'detail': str(sys.exc_info()[1])}, 500)",
            "exception-from-sys": "return JSONResponse({'detail': str(sys.exception())}, 500)",
            "another-name": "found = error\n    return JSONResponse({'detail': str(found)}, 500)",
        }.items()
    ),
    swapped("P12-RAW-ERROR", "envelope-by-hand", ENDINGS, "    envelope = build_error_envelope(kind, message, plugin=job.plugin, call_id=call_id(job))\n", '    error: Any = {"type": str(kind), "message": message, "details": {}, "plugin": job.plugin}\n    envelope: Any = {"error": error, "_internal": {"traceback": message}}\n'),
    added("P12-RAW-ERROR", "envelope-by-its-class", "from toolrunner.runner.envelope import Envelope\n\n\ndef failed(error, trace):\n    return Envelope(error=error, _internal=trace)\n", JOBS),
    swapped("P12-RAW-ERROR", "whole-envelope", ROUTE, ANSWERED, "        response = JSONResponse(envelope, 400)\n"),
    added("P12-RAW-ERROR", "new-route", "from fastapi import APIRouter, HTTPException\n\nrouter = APIRouter()\n\n\n@router.get('/x')\ndef x(name: str):\n    try:\n        return open(name).read()\n    except Exception as exc:\n        raise HTTPException(500, detail=repr(exc))\n", "api/page/x.py"),
)  # fmt: skip

IMPORTS = (
    added("P12-IMPORTS", "http-of-cli", "from toolrunner.api.cli.console import plain\n", "api/http/plugins.py"),
    added("P12-IMPORTS", "sandbox-of-runner", "def late():\n    from toolrunner.runner.errors import GovernedError\n    return GovernedError\n", "sandbox/limits.py"),
    added("P12-IMPORTS", "runner-of-services", "from toolrunner.runner.services.backend import Backend\n", "runner/verdict.py"),
    added("P12-IMPORTS", "cycle", "def late():\n    from toolrunner.runner.tool_runner import ToolRunner\n    return ToolRunner\n", "runner/verdict.py"),
    added("P12-IMPORTS", "of-tests", "from tests.conftest import ISOLATIONS\n", "api/serve/program.py"),
    added("P12-IMPORTS", "by-text", "def late():\n    from importlib import import_module\n    return import_module('toolrunner.runner.errors').GovernedError\n", "sandbox/limits.py"),
    added("P12-IMPORTS", "mode", "from toolrunner.sandbox.modes.cold import Cold\n\n\ndef go(boxes, caller, request):\n    return Cold(boxes).call(caller, request)\n", "runner/quick.py"),
    added("P12-IMPORTS", "exchange", "from toolrunner.sandbox.exchange import messages\n", "api/http/quick.py"),
    added("P12-IMPORTS", "spawner", "from toolrunner.sandbox import spawn\n", "runner/jobs/quick.py"),
    added("P12-IMPORTS", "tests-within", "from toolrunner.runner.tests.quick import go\n", "runner/jobs/quick.py"),
    added("P12-IMPORTS", "page-of-cli", "from toolrunner.api.cli import console\n", "api/page/view.py"),
)  # fmt: skip

VALIDATION = (
    swapped("P12-VALIDATION", "for-some", RUNNER, CHECK, "            if call.caller:\n                checked = self._validate(plugin, payload, call)\n            else:\n                checked = Payload(dict(payload))\n"),
    swapped("P12-VALIDATION", "by-an-expression", RUNNER, CHECK, "            checked = self._known(name) and self._validate(plugin, payload, call)\n"),
    swapped("P12-VALIDATION", "after-a-way-out", RUNNER, CHECK, "            if not payload:\n                return {}, None\n" + CHECK),
    swapped("P12-VALIDATION", "later", RUNNER, CHECK, "            checked = Lazy(lambda: self._validate(plugin, payload, call))\n"),
    swapped("P12-VALIDATION", "input-gone", RUNNER, "            checked = validation.validate_input_payload(payload)\n", "            checked = Payload(dict(payload))\n"),
    swapped("P12-VALIDATION", "not-called", RUNNER, CHECK, "            checked = Payload(dict(payload))\n"),
    swapped("P12-VALIDATION", "output-gone", RUNNER, "            return known or reader.checked(validation.parse_result(outcome.result_body))\n", "            return json.loads(outcome.result_body)\n"),
)  # fmt: skip

HELPERS = (
    added("P12-TRY-AROUND", "around-a-helper", "def _go(analysis, name, payload):\n    return analysis.analyze(name, payload)\n\n\ndef go(analysis, name, payload):\n    try:\n        return _go(analysis, name, payload)\n    except Exception:\n        return {}, None\n", "api/cli/quick.py"),
    added("P12-TRY-AROUND", "around-a-helping-method", "class Door:\n    def _go(self, name, payload):\n        return self._analysis.analyze(name, payload)\n\n    def go(self, name, payload):\n        try:\n            return self._go(name, payload)\n        except RuntimeError:\n            return {}, None\n", "api/cli/quick.py"),
    added("P12-TRY-AROUND", "generator-that-keeps", "import contextlib\n\n\n@contextlib.contextmanager\ndef quiet():\n    try:\n        yield\n    except Exception:\n        pass\n\n\ndef go(analysis, name, payload):\n    with quiet():\n        return analysis.analyze(name, payload)\n", "api/cli/quick.py"),
    added("P12-TRY-AROUND", "decorator-that-keeps", "import contextlib\n\n\nclass Quiet(contextlib.ContextDecorator):\n    def __enter__(self):\n        return self\n\n    def __exit__(self, *found):\n        return True\n\n\n@Quiet()\ndef go(analysis, name, payload):\n    return analysis.analyze(name, payload)\n", "api/cli/quick.py"),
    added("P12-DIRECT-RUN", "reduced", "from functools import reduce\n\n\ndef go(plugin, data):\n    return reduce(getattr, ['instance', 'run'], plugin)(data)\n", "runner/quick.py"),
    added("P12-TOOLRUNNER", "route-that-discovers", "from fastapi import APIRouter\n\nfrom toolrunner.runner.registry.registry import PluginRegistry\n\nrouter = APIRouter()\n\n\n@router.get('/v2/plugins')\ndef names():\n    return PluginRegistry.discover().list_plugins()\n", "api/http/quick.py"),
    added("P12-METRICS", "entries-by-a-text", "def go(registry, name):\n    getattr(registry, '_entries')[name].error_count = 0\n", "api/metrics/quick.py"),
    added("P12-METRICS", "entry-settled", "from toolrunner.runner.registry.plugin_state import Entry, PluginState\n\n\ndef go(entry: Entry):\n    entry.settle(PluginState.INITIALIZED)\n", "runner/jobs/quick.py"),
    added("P12-METRICS", "shared-counts-settled", "from toolrunner.runner.registry.shared_metrics import SharedMetrics\n\n\ndef go(counts: SharedMetrics, name):\n    counts.settle(name, 'INITIALIZED', '')\n", "runner/services/quick.py"),
    added("P12-METRICS", "cluster-counts-settled", "from toolrunner.runner.jobs.postgres.counts import ClusterCounts\n\n\ndef go(counts: ClusterCounts, name):\n    counts.settle(name, 'INITIALIZED', '')\n", "runner/services/quick.py"),
    added("P12-METRICS", "any-counts-settled", "from toolrunner.runner.registry.counts import SharedCounts\n\n\ndef go(counts: SharedCounts, name):\n    counts.settle(name, 'INITIALIZED', '')\n", "runner/services/quick.py"),
    added("P12-METRICS", "marked-by-a-lying-type", "class Watched:\n    def mark_failed(self, reason):\n        self.reason = reason\n\n\ndef go(registry):\n    child: Watched = registry\n    child.mark_failed('x')\n", "api/serve/quick.py"),
    added("P12-RAW-ERROR", "traceback-of-a-job", "import traceback\n\n\ndef go(store, claim):\n    store.finish(claim, 'FAILED', error={'message': traceback.format_exc()})\n", "runner/jobs/quick.py"),
)  # fmt: skip

UNREADABLE = (
    added("P12-UNREADABLE", "syntax", "def broken(:\n", "runner/call.py"),
    added("P12-UNREADABLE", "null", "x = 1\0\n", "runner/call.py"),
    added("P12-UNREADABLE", "the-choke-point", "def broken(:\n", RUNNER),
)  # fmt: skip

ALL: tuple[Case, ...] = (
    *DIRECT, *CODE, *TOOL_RUNNER, *METRICS, *WAY, *TRY_AROUND, *RAW, *IMPORTS, *VALIDATION,
    *HELPERS, *UNREADABLE,
)  # fmt: skip
