"""The real source, broken the ways people break it; each case names the rule that has to see it."""

from __future__ import annotations

from tests.governance.edits import Case, Edit, append, mutant, remove, swap

RUNNER = "runner/tool_runner.py"
REGISTRY = "runner/registry/registry.py"
STATE = "runner/registry/plugin_state.py"
ANALYSIS = "runner/services/analysis.py"
JOBS = "runner/services/job_management.py"
PLUGINS = "runner/services/plugin_management.py"
ROUTE = "api/http/analyze.py"

RECORD = "            self.registry.update_execution_metrics(name, state, elapsed_ms, failure is not None)\n"
RUN = "    def run(\n        self, plugin_name: str, payload: Mapping[str, Any], *, call: Call | None = None\n    )"
CALL = "        result, error = self._tool_runner.run(plugin_name, payload, call=call)\n"
ANALYZE = "doors.backend.analysis.analyze(wanted.plugin, wanted.payload, call=call)"
TRY = "        try:\n            plugin = self._look_up(name)\n"


def service(body: str) -> Edit:
    """Return an edit that adds a function to the file of PluginManagementService."""
    return append(PLUGINS, body)


def direct(name: str, body: str, *also: str) -> Case:
    """Return a case of a function that runs a plugin directly."""
    return mutant("P12-DIRECT-RUN", name, service(body), also=also)


DIRECT = (
    direct("plain", "def go(plugin, payload):\n    return plugin.run(payload)\n"),
    direct("alias", "def go(registry, name, payload):\n    p = registry.get(name)\n    q = p\n    return q.run(payload)\n"),
    direct("attribute", "class Fast:\n    def __init__(self, registry):\n        self._it = registry.get('x')\n\n    def go(self, data):\n        return self._it.run(data)\n"),
    direct("subscript", "def go(plugins, name, data):\n    return plugins[name].run(data)\n"),
    direct("own-cache", "CACHE = {}\n\n\ndef go(name, plugin, data):\n    CACHE[name] = plugin\n    return CACHE[name].run(data)\n"),
    direct("getattr", "def go(plugin, data):\n    return getattr(plugin, 'run')(data)\n"),
    direct("getattr-built", "def go(plugin, data):\n    return getattr(plugin, 'r' + 'un')(data)\n"),
    direct("getattr-named", "METHOD = 'run'\n\n\ndef go(plugin, data):\n    return getattr(plugin, METHOD)(data)\n"),
    direct("getattr-any", "def go(plugin, method, data):\n    return getattr(plugin, method)(data)\n"),
    direct("getattribute", "def go(plugin, data):\n    return plugin.__getattribute__('run')(data)\n"),
    direct("bound", "def go(plugin, data):\n    execute = plugin.run\n    return execute(data)\n"),
    direct("partial", "from functools import partial\n\n\ndef go(plugin, data):\n    return partial(plugin.run, data)()\n"),
    direct("methodcaller", "import operator\n\n\ndef go(it, data):\n    return operator.methodcaller('run', data)(it)\n"),
    direct("attrgetter", "from operator import attrgetter\n\n\ndef go(it, data):\n    return attrgetter('run')(it)(data)\n"),
    direct("map", "def go(plugins, data):\n    return list(map(lambda p: p.run(data), plugins))\n"),
    direct("map-function", "def one(p):\n    return p.run({})\n\n\ndef go(plugins):\n    return list(map(one, plugins))\n"),
    direct("comprehension", "def go(registry, data):\n    return [p.run(data) for p in registry.values()]\n"),
    direct("items", "def go(plugins, data):\n    return {n: p.run(data) for n, p in plugins.items()}\n"),
    direct("loop", "def go(registry, data):\n    for p in registry:\n        p.run(data)\n"),
    direct("lambda-default", "def go(plugin, data):\n    return (lambda p=plugin: p.run(data))()\n"),
    direct("lambda-called", "def go(plugin, data):\n    return (lambda p: p.run(data))(plugin)\n"),
    direct("argument", "def go(pool, plugin, data):\n    return pool.submit(plugin.run, data)\n"),
    direct("thread", "import threading\n\n\ndef go(plugin, data):\n    threading.Thread(target=plugin.run, args=(data,)).start()\n"),
    direct("walrus", "def go(registry, data):\n    if (p := registry.get('x')) is not None:\n        return p.run(data)\n    return None\n"),
    direct("annotated", "from toolrunner.plugins.plugin import Plugin\n\n\ndef go(it: Plugin | None, data):\n    return it.run(data)\n"),
    direct("class", "def go(it, data):\n    return Plugin.run(it, data)\n"),
    direct("type", "def go(plugin, data):\n    return type(plugin).run(plugin, data)\n"),
    direct("vars", "def go(plugin, data):\n    return vars(type(plugin))['run'](plugin, data)\n"),
    direct("dict", "def go(plugin, data):\n    return plugin.__dict__['run'](data)\n"),
    direct("helper", "def run_it(it, data):\n    return it.run(data)\n\n\ndef go(plugin, data):\n    return run_it(plugin, data)\n"),
    direct("returned", "def first(registry):\n    return registry.get('x')\n\n\ndef go(registry, data):\n    return first(registry).run(data)\n"),
    direct("conditional", "def go(registry, other, data):\n    return (other or registry.get('x')).run(data)\n"),
    direct("callable", "def go(registry, payload):\n    return registry.get('x')(payload)\n"),
    direct("unknown-object", "def go(it, payload):\n    return it.run(payload)\n"),
    direct("forgesyte-tool", "def go(plugin, args):\n    return plugin.run_tool('ocr', args)\n"),
    direct("forgesyte-analyze", "def go(plugin, image_bytes, options):\n    return plugin.analyze(image_bytes, options)\n"),
    direct("match", "def go(it, data):\n    match it:\n        case object(run=execute):\n            return execute(data)\n"),
    direct("async", "async def go(plugin, data):\n    return await plugin.run(data)\n"),
    direct("loaded", "from importlib.metadata import entry_points\n\n\ndef go(data):\n    for point in entry_points(group='x'):\n        point.load().run(data)\n", "P12-PLUGIN-CODE"),
    direct("global", "IT = None\n\n\ndef take(plugin):\n    global IT\n    IT = plugin\n\n\ndef go(data):\n    return IT.run(data)\n"),
    direct("setattr", "class Fast:\n    def __init__(self, plugin):\n        setattr(self, 'it', plugin)\n\n    def go(self, data):\n        return self.it.run(data)\n"),
    direct("field", "class Fast:\n    it: Plugin\n\n    def go(self, data):\n        return self.it.run(data)\n"),
    direct("annotated-local", "def go(find, data):\n    it: Plugin = find()\n    return it.run(data)\n"),
    direct("annotated-answer", "def first(them) -> Plugin:\n    return them[0]\n\n\ndef go(them, data):\n    return first(them).run(data)\n"),
    direct("appended", "def go(plugin, data):\n    row = []\n    row.append(plugin)\n    return row[0].run(data)\n"),
    direct("zip", "def go(plugins, all_data):\n    return [p.run(d) for p, d in zip(plugins, all_data)]\n"),
    direct("payload-by-name", "def go(it, payload):\n    return it.run(payload=dict(payload))\n"),
    mutant(
        "P12-DIRECT-RUN", "in-the-service",
        swap(PLUGINS, CALL, "        plugin = self._tool_runner.registry.get(plugin_name)\n        result, error = plugin.run(payload), None\n"),
        also=("P12-SERVICES",),
    ),
    mutant(
        "P12-DIRECT-RUN", "in-the-choke-point",
        swap(RUNNER, "            ending = self._call(plugin, checked, call)\n", "            ending = self.registry.get(name).run(checked)\n"),
        also=("P12-STEPS",),
    ),
    mutant(
        "P12-DIRECT-RUN", "in-the-zygote",
        append("sandbox/inside/zygote.py", "def quick(plugin, payload):\n    return plugin.run(payload)\n"),
    ),
    mutant(
        "P12-DIRECT-RUN", "worker-gone", remove("sandbox/inside/worker.py"),
    ),
)  # fmt: skip

CODE = tuple(
    mutant("P12-PLUGIN-CODE", name, append("plugins/discovery.py", body))
    for name, body in {
        "import-module": "import importlib\n\n\ndef look(name):\n    return importlib.import_module(name)\n",
        "import-alias": "from importlib import import_module as bring\n\n\ndef look(name):\n    return bring(name)\n",
        "dunder": "def look(name):\n    return __import__(name)\n",
        "exec": "def look(source):\n    space = {}\n    exec(source, space)\n    return space\n",
        "exec-alias": "perform = exec\n",
        "builtins": "import builtins\n\n\ndef look(source):\n    builtins.exec(source)\n",
        "eval": "def look(text):\n    return eval(text)\n",
        "runpy": "import runpy\n\n\ndef look(path):\n    return runpy.run_path(path)\n",
        "spec": "import importlib.util\n\n\ndef look(path):\n    return importlib.util.spec_from_file_location('p', path)\n",
        "loader": "from importlib.machinery import SourceFileLoader\n",
        "entry-point": "def look(entry_point):\n    return entry_point.load()\n",
        "entry-points": "from importlib.metadata import entry_points\n\n\ndef look():\n    return entry_points(group='toolrunner.plugins')['x'].load()\n",
        "getattr": "import importlib\n\n\ndef look(name):\n    return getattr(importlib, 'import_module')(name)\n",
        "path": "import sys\n\n\ndef look(folder):\n    sys.path.insert(0, str(folder))\n",
        "bundled": "from toolrunner.plugins.bundled import barcode\n",
    }.items()
)

EXISTS = (
    mutant("P12-TOOLRUNNER", "renamed", swap(RUNNER, "class ToolRunner:", "class PluginRunner:"), also=("P12-METRICS-BYPASS",)),
    mutant("P12-TOOLRUNNER", "file-gone", remove(RUNNER)),
    mutant("P12-TOOLRUNNER", "second", append("runner/call.py", "class ToolRunner:\n    pass\n")),
    mutant("P12-TOOLRUNNER", "derived", append("api/cli/session.py", "class FastRunner(ToolRunner):\n    pass\n")),
    mutant("P12-TOOLRUNNER", "patched", append("runner/services/backend.py", "def patch(quick):\n    ToolRunner.run = quick\n")),
    mutant("P12-TOOLRUNNER", "setattr", append("runner/services/backend.py", "def patch(tool_runner, quick):\n    setattr(tool_runner, 'run', quick)\n")),
    mutant("P12-TOOLRUNNER", "rebound", append("api/cli/session.py", "ToolRunner = object\n")),
    mutant("P12-TOOLRUNNER", "run-twice", swap(RUNNER, "    def start(self, plugin_name: str) -> Start:", "    def run(self, plugin_name, payload):\n        return {}, None\n\n    def start(self, plugin_name: str) -> Start:")),
)  # fmt: skip


def run_head(new: str) -> Edit:
    """Return an edit of the head of ToolRunner.run."""
    return swap(RUNNER, RUN, new)


SIGNATURE = (
    mutant("P12-SIGNATURE", "async", run_head(RUN.replace("    def run", "    async def run"))),
    mutant("P12-SIGNATURE", "static", run_head("    @staticmethod\n" + RUN)),
    mutant("P12-SIGNATURE", "decorated", run_head("    @retried\n" + RUN)),
    mutant("P12-SIGNATURE", "no-payload", run_head("    def run(self, plugin_name: str, *, payload: object = None, call: Call | None = None)")),
    mutant("P12-SIGNATURE", "swapped", run_head("    def run(self, payload, plugin_name, *, call: Call | None = None)")),
    mutant("P12-SIGNATURE", "needs-more", run_head("    def run(self, plugin_name: str, payload: Any, *, call: Call)")),
    mutant("P12-SIGNATURE", "packed", run_head("    def run(self, *args: Any, **options: Any)")),
    mutant("P12-SIGNATURE", "renamed", run_head(RUN.replace("def run", "def execute")), also=("P12-METRICS-BYPASS",)),
    mutant("P12-SIGNATURE", "generator", swap(RUNNER, "        started = time.monotonic()\n        name = _name_of", "        yield\n        started = time.monotonic()\n        name = _name_of")),
)  # fmt: skip

END = "        if failure is None:\n            return result, None\n        return None, self._envelope(name or None, call, failure)\n"
PAIR = tuple(
    mutant("P12-PAIR", name, swap(RUNNER, END, new))
    for name, new in {
        "result-alone": "        if failure is None:\n            return result\n        return None, self._envelope(name or None, call, failure)\n",
        "falls-off": "        if failure is None:\n            return result, None\n",
        "bare": "        if failure is None:\n            return\n        return None, self._envelope(name or None, call, failure)\n",
        "three": "        if failure is None:\n            return result, None, call.usage\n        return None, self._envelope(name or None, call, failure)\n",
        "list": "        if failure is None:\n            return [result, None]\n        return None, self._envelope(name or None, call, failure)\n",
        "both": "        if failure is None:\n            return result, self._envelope(name or None, call, GovernedError(ErrorType.CANCELLED, ''))\n        return None, self._envelope(name or None, call, failure)\n",
        "envelope-alone": "        if failure is None:\n            return result, None\n        return self._envelope(name or None, call, failure)\n",
    }.items()
)

LOOK = "            plugin = self._look_up(name)\n"
CHECK = "            checked = self._validate(plugin, payload)\n"
SEND = "            ending = self._call(plugin, checked, call)\n"
RESULT = "            result = self._result(outcome, plugin, ending)\n"


def steps(name: str, *edits: tuple[str, str]) -> Case:
    """Return a case of edits to the steps in ToolRunner."""
    return mutant("P12-STEPS", name, *(swap(RUNNER, old, new) for old, new in edits))


STEPS = (
    steps("no-validation", (CHECK, "            checked = validation.Payload(dict(payload))\n")),
    steps("validation-before-try", (TRY, "        plugin = self._look_up(name)\n        checked = self._validate(plugin, payload)\n        try:\n            plugin = self._look_up(name)\n"), (CHECK, "")),
    steps("look-up-before-try", (TRY, "        plugin = self._look_up(name)\n        try:\n")),
    steps("call-after-try", (SEND, "            ending = None\n"), (END, "        ending = self._call(plugin, checked, call)\n" + END)),
    steps("validation-in-a-branch", (CHECK, "            checked = payload\n            if plugin.manifest.input == 'json':\n                checked = self._validate(plugin, payload)\n")),
    steps("validation-when-asked", (CHECK, "            checked = self._validate(plugin, payload) if self._settings.caps else payload\n")),
    steps("validation-skipped-for-trusted", ('        """Check the payload against what the plugin takes; return it ready to be sent."""\n', '        if plugin.origin == "bundled":\n            return payload\n')),
    steps("validation-of-one-kind", ("            checked = validation.validate_input_payload(payload)\n", "            checked = Payload(dict(payload))\n")),
    steps("unchecked-payload-sent", (SEND, "            ending = self._call(plugin, payload, call)\n")),
    steps("output-unchecked", (RESULT, "            result = json.loads(outcome.result_body)\n")),
    steps("output-check-gutted", ("            return validation.parse_result(outcome.result_body)\n", "            return json.loads(outcome.result_body)\n")),
    steps("output-dropped", (END, END.replace("return result, None", "return ending.reply, None"))),
    steps("validation-after-call", (CHECK + SEND, SEND + CHECK)),
    steps("second-way", ("    def warm_up(self", "    def run_quickly(self, plugin, payload):\n        return self._call(plugin, payload, Call())\n\n    def warm_up(self")),
    steps("second-way-direct", ("    def warm_up(self", "    def run_quickly(self, program, limits, request):\n        return self._sandbox.call(program, limits, request)\n\n    def warm_up(self")),
    mutant("P12-STEPS", "validator-gone", swap("runner/payloads/validation.py", "def validate_json_payload(", "def validate_json(")),
    mutant("P12-STEPS", "validator-of-nothing", swap("runner/payloads/validation.py", "    result = _result(output)\n    try:\n        check(result, what=\"result\")\n    except JsonError as error:\n        raise GovernedError(ErrorType.OUTPUT_VALIDATION_ERROR, str(error)) from None\n    return result\n", "    return dict(output)\n")),
)  # fmt: skip


def metrics(name: str, *edits: tuple[str, str], also: tuple[str, ...] = ()) -> Case:
    """Return a case of edits around the record of a call."""
    return mutant("P12-METRICS", name, *(swap(RUNNER, old, new) for old, new in edits), also=also)


STRIPPED = RECORD.strip()
METRICS = (
    metrics("gone", (RECORD, "")),
    metrics("in-a-branch", (RECORD, f"            if failure is None:\n                {STRIPPED}\n")),
    metrics("in-a-loop", (RECORD, f"            for _ in self._files:\n                {STRIPPED}\n")),
    metrics("in-a-function", (RECORD, f"            def record():\n                {STRIPPED}\n            record()\n")),
    metrics("in-a-lambda", (RECORD, f"            lambda: {STRIPPED}\n")),
    metrics("suppressed", (RECORD, f"            with contextlib.suppress(Exception):\n                {STRIPPED}\n")),
    metrics("in-a-try", (RECORD, f"            try:\n                {STRIPPED}\n            except Exception:\n                pass\n")),
    metrics("lazily", (RECORD, f"            self._settings.caps and {STRIPPED}\n")),
    metrics("after-a-return", (RECORD, f"            if not name:\n                return None, self._envelope(None, call, failure)\n{RECORD}")),
    metrics("after-a-raise", (RECORD, f"            if not name:\n                raise KeyError(name)\n{RECORD}")),
    metrics("then-a-return", (RECORD, f"{RECORD}            return result, None\n"), ),
    metrics("in-the-else", ("        finally:\n            elapsed_ms", "        else:\n            elapsed_ms")),
    metrics("after-the-try", (RECORD, ""), (END, RECORD.replace("            self", "        self") + END)),
    metrics("twice", (RESULT, RESULT + RECORD)),
    metrics("three-arguments", (RECORD, RECORD.replace(", failure is not None", ""))),
    metrics("constant", (RECORD, RECORD.replace("failure is not None", "False"))),
    metrics("starred", (RECORD, "            self.registry.update_execution_metrics(*record)\n")),
    metrics("of-another", (RECORD, RECORD.replace("self.registry", "self._files"))),
    metrics("unrecorded-return", (TRY, "        if not name:\n            return None, self._envelope(None, call, failure)\n" + TRY)),
)  # fmt: skip

BYPASS = (
    mutant("P12-METRICS-BYPASS", "door-records", append("api/cli/session.py", "def note(registry, name):\n    registry.update_execution_metrics(name, 'FAILED', 0, True)\n")),
    mutant("P12-METRICS-BYPASS", "patched", append("api/cli/session.py", "def hush(registry):\n    registry.update_execution_metrics = print\n")),
    mutant("P12-METRICS-BYPASS", "by-name", append(JOBS, "def note(registry, *figures):\n    getattr(registry, 'update_execution_metrics')(*figures)\n")),
    mutant("P12-METRICS-BYPASS", "entries", append("api/cli/session.py", "def forget(registry):\n    registry._entries.clear()\n")),
    mutant("P12-METRICS-BYPASS", "counts", append("api/cli/session.py", "def better(entry):\n    entry.error_count = 0\n")),
    mutant("P12-METRICS-BYPASS", "arun-records", swap(RUNNER, "        handle = call if call is not None else Call()\n        return await", "        handle = call if call is not None else Call()\n        self.registry.update_execution_metrics(plugin_name, 'RUNNING', 0, False)\n        return await")),
    mutant("P12-METRICS-BYPASS", "second-registry", append("api/cli/session.py", "class Registry:\n    def update_execution_metrics(self, *figures):\n        pass\n")),
)  # fmt: skip

REGISTRY_CASES = (
    mutant("P12-REGISTRY", "method-gone", swap(REGISTRY, "    def update_execution_metrics(", "    def note(")),
    mutant("P12-REGISTRY", "argument-gone", swap(REGISTRY, "state: str, elapsed_ms: int, had_error: bool", "state: str, elapsed_ms: int")),
    mutant("P12-REGISTRY", "field-gone", swap(STATE, "    avg_execution_time_ms: float | None\n", "")),
    mutant("P12-REGISTRY", "record-gone", swap(REGISTRY, "                entry.record(state, elapsed_ms, had_error=had_error)\n", "")),
    mutant("P12-REGISTRY", "count-gone", swap(STATE, "            self.error_count += 1\n", "            pass\n")),
    mutant("P12-REGISTRY", "time-gone", swap(STATE, "        self.times_ms.append(max(0, round(elapsed_ms)))\n", "")),
    mutant("P12-REGISTRY", "early-return", swap(REGISTRY, "        with self._lock:\n            entry = self._entries.get(plugin_name)\n            if entry", "        if not had_error:\n            return\n        with self._lock:\n            entry = self._entries.get(plugin_name)\n            if entry")),
)  # fmt: skip
