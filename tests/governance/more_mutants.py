"""The rest of the broken sources: what leaves ToolRunner, the way to it, errors and imports."""

from __future__ import annotations

from tests.governance import mutants
from tests.governance.edits import Case, append, mutant, remove, swap
from tests.governance.mutants import ANALYSIS, ANALYZE, CALL, END, JOBS, PLUGINS, ROUTE, RUNNER

BROAD = (
    "        except Exception as bug:  # noqa: BLE001 - the one place where bugs become envelopes\n"
)
FAILED = "        except GovernedError as error:\n            failure = error\n"

ESCAPE = (
    mutant("P12-ESCAPE", "narrow", swap(RUNNER, BROAD, "        except ValueError as bug:\n")),
    mutant("P12-ESCAPE", "raised-again", swap(RUNNER, FAILED, FAILED + "            raise\n")),
    mutant("P12-ESCAPE", "raised-for-some", swap(RUNNER, FAILED, "        except GovernedError as error:\n            failure = error\n            if not name:\n                raise KeyError(plugin_name) from error\n")),
    mutant("P12-ESCAPE", "raised-at-the-end", swap(RUNNER, END, "        if failure is not None:\n            raise failure\n        return result, None\n")),
    mutant("P12-ESCAPE", "raised-before", swap(RUNNER, mutants.TRY, "        if not name:\n            raise ValueError(plugin_name)\n" + mutants.TRY), also=("P12-METRICS",)),
)  # fmt: skip

ENVELOPE = (
    *(
        mutant("P12-ENVELOPE", name, swap(RUNNER, "        return None, self._envelope(name or None, call, failure)\n", new))
        for name, new in {
            "text": "        return None, str(failure)\n",
            "bare-dict": '        return None, {"error": str(failure)}\n',
            "exception": "        return None, failure\n",
            "variable": '        envelope = {"error": {"message": failure.message}}\n        return None, envelope\n',
        }.items()
    ),
    mutant("P12-ENVELOPE", "gutted", swap(RUNNER, "        return build_error_envelope(\n", "        return dict(\n")),
)  # fmt: skip

GUARDED = {
    "except": "        try:\n            result, error = self._tool_runner.run(plugin_name, payload, call=call)\n        except Exception:\n            result, error = None, None\n",
    "narrow-except": "        try:\n            result, error = self._tool_runner.run(plugin_name, payload, call=call)\n        except KeyError:\n            raise\n",
    "suppress": "        with contextlib.suppress(Exception):\n            result, error = self._tool_runner.run(plugin_name, payload, call=call)\n",
    "nested": "        try:\n            with self._lock:\n                result, error = self._tool_runner.run(plugin_name, payload, call=call)\n        except* ValueError:\n            pass\n",
}  # fmt: skip
# Where the exception is swallowed, the service goes on without having called: another rule's too.
TRY_AROUND = (
    *(
        mutant(
            "P12-TRY-AROUND", name, swap(PLUGINS, CALL, body),
            also=("P12-SERVICES",) if name in {"except", "suppress", "nested"} else (),
        )
        for name, body in GUARDED.items()
    ),
    mutant("P12-TRY-AROUND", "in-the-jobs", swap(JOBS, "        return self._plugins.execute_plugin(plugin_name, payload, call=call)\n", "        try:\n            return self._plugins.execute_plugin(plugin_name, payload, call=call)\n        except OSError:\n            raise\n")),
    mutant("P12-TRY-AROUND", "in-the-route", swap(ROUTE, f"    result, envelope = {ANALYZE}\n", f"    try:\n        result, envelope = {ANALYZE}\n    except RuntimeError:\n        raise\n")),
)  # fmt: skip

DELEGATE = "        return self._jobs.run_job(plugin_name, payload, call=call)\n"
EXECUTE = "        return self._plugins.execute_plugin(plugin_name, payload, call=call)\n"
SERVICES = (
    mutant("P12-SERVICES", "analysis-past-jobs", swap(ANALYSIS, DELEGATE, "        return self._plugins.execute_plugin(plugin_name, payload, call=call)\n")),
    mutant("P12-SERVICES", "analysis-skips", swap(ANALYSIS, DELEGATE, "        if not payload:\n            return {}, None\n" + DELEGATE)),
    mutant("P12-SERVICES", "analysis-imports", append(ANALYSIS, "from toolrunner.runner.services.plugin_management import PluginManagementService\n")),
    mutant("P12-SERVICES", "analysis-other-payload", swap(ANALYSIS, DELEGATE, DELEGATE.replace("payload,", "dict(payload),"))),
    mutant("P12-SERVICES", "analysis-changes-payload", swap(ANALYSIS, DELEGATE, "        payload = dict(payload)\n" + DELEGATE)),
    mutant("P12-SERVICES", "analysis-answers-itself", swap(ANALYSIS, DELEGATE, "        result, error = self._jobs.run_job(plugin_name, payload, call=call)\n        return error, result\n")),
    mutant("P12-SERVICES", "analysis-gone", swap(ANALYSIS, "class AnalysisService:", "class Analysis:")),
    mutant("P12-SERVICES", "analysis-file-gone", remove(ANALYSIS)),
    mutant("P12-SERVICES", "jobs-past-plugins", swap(JOBS, EXECUTE, "        return self._tool_runner.run(plugin_name, payload, call=call)\n")),
    mutant("P12-SERVICES", "jobs-import-runner", swap(JOBS, "from toolrunner.runner.tool_runner import Envelope, Result\n", "from toolrunner.runner.tool_runner import Envelope, Result, ToolRunner\n")),
    mutant("P12-SERVICES", "jobs-cache", swap(JOBS, EXECUTE, "        if plugin_name in self._answers:\n            return self._answers[plugin_name]\n" + EXECUTE)),
    mutant("P12-SERVICES", "jobs-async", swap(JOBS, "    def run_job(", "    async def run_job(")),
    mutant("P12-SERVICES", "plugins-skip", swap(PLUGINS, CALL, "        if not payload:\n            return {}, None\n" + CALL)),
    mutant("P12-SERVICES", "plugins-past-runner", swap(PLUGINS, CALL, "        result, error = self._tool_runner._sandbox.call(plugin_name, payload), None\n")),
    mutant("P12-SERVICES", "dispatcher-shortcut", append("runner/jobs/dispatcher.py", "def quick(tool_runner, name, payload):\n    return tool_runner.run(name, payload)\n")),
    mutant("P12-SERVICES", "dispatcher-by-plugins", append("runner/jobs/dispatcher.py", "def quick(service, name, payload):\n    return service.execute_plugin(name, payload)\n")),
)  # fmt: skip


def door(name: str, new: str) -> Case:
    """Return a case of a route that takes another way than AnalysisService."""
    return mutant("P12-DOORS", name, swap(ROUTE, ANALYZE, new))


DOORS = (
    door("jobs", ANALYZE.replace("analysis.analyze", "jobs.run_job")),
    door("plugins", ANALYZE.replace("analysis.analyze", "plugins.execute_plugin")),
    door("tool-runner", ANALYZE.replace("analysis.analyze", "_tool_runner.run")),
    door("by-name", "getattr(doors.backend.jobs, 'run_job')(wanted.plugin, wanted.payload, call=call)"),
    mutant("P12-DOORS", "route-makes-one", append(ROUTE, "from toolrunner.runner.tool_runner import ToolRunner\n")),
    mutant("P12-DOORS", "command-line", swap("api/cli/calls.py", "analysis.analyze(plugin, payload, call=call)", "tool_runner.run(plugin, payload, call=call)")),
    mutant("P12-DOORS", "arun", append("api/http/jobs.py", "async def quick(tool_runner, name, payload):\n    return await tool_runner.arun(name, payload)\n")),
    mutant("P12-DOORS", "bound", append("api/http/jobs.py", "def quick(doors):\n    return doors.backend.jobs.run_job\n")),
    mutant("P12-DOORS", "private", append("api/http/jobs.py", "def quick(doors):\n    return doors.backend.analysis._jobs\n")),
    mutant("P12-DOORS", "sandbox", append("api/cli/app.py", "from toolrunner.sandbox.sandbox import Sandbox\n")),
    mutant("P12-DOORS", "route-gone", remove(ROUTE)),
)  # fmt: skip

STORED = '        message = f"the job could not be stored ({type(error).__name__}); it is not accepted"\n'
RESPONSE = '        response = governed(envelope["error"])\n'
RAW = (
    mutant("P12-RAW-ERROR", "str", swap("api/http/jobs.py", STORED, "        message = str(error)\n")),
    mutant("P12-RAW-ERROR", "f-string", swap("api/http/jobs.py", STORED, '        message = f"the job could not be stored: {error}"\n')),
    mutant("P12-RAW-ERROR", "repr", swap("api/http/jobs.py", STORED, "        message = repr(error)\n")),
    mutant("P12-RAW-ERROR", "percent", swap("api/http/jobs.py", STORED, '        message = "not stored: %s" % error\n')),
    mutant("P12-RAW-ERROR", "format", swap("api/http/jobs.py", STORED, '        message = "not stored: {}".format(error)\n')),
    mutant("P12-RAW-ERROR", "args", swap("api/http/jobs.py", STORED, "        message = error.args[0]\n")),
    mutant("P12-RAW-ERROR", "joined", swap("api/http/jobs.py", STORED, '        message = " ".join(map(str, [error]))\n')),
    mutant("P12-RAW-ERROR", "named-in-a-test", swap("api/http/jobs.py", STORED, '        message = ""\n        if text := str(error):\n            message = text\n')),
    mutant("P12-RAW-ERROR", "traceback", append("api/http/errors.py", "import traceback\n\n\ndef shown():\n    return JSONResponse({'detail': traceback.format_exc()})\n")),
    mutant("P12-RAW-ERROR", "whole-envelope", swap(ROUTE, RESPONSE, "        response = JSONResponse(envelope, 400)\n")),
    mutant("P12-RAW-ERROR", "internal-half", swap(ROUTE, RESPONSE, '        response = governed({**envelope["error"], **envelope["_internal"]})\n')),
    mutant("P12-RAW-ERROR", "debug", swap("api/http/app.py", "        version=version,\n", "        version=version,\n        debug=True,\n")),
    mutant("P12-RAW-ERROR", "in-the-runner", swap(RUNNER, '            message = f"{type(bug).__name__} in the runner itself; its log has the traceback"\n', '            message = f"{bug} in the runner itself"\n')),
)  # fmt: skip


def imports(name: str, path: str, line: str, *also: str) -> Case:
    """Return a case of an import that goes the wrong way."""
    return mutant("P12-IMPORT-DIRECTION", name, append(path, line + "\n"), also=also)


DIRECTION = (
    imports("runner-of-api", "runner/verdict.py", "from toolrunner.api.cli.exits import EXITS"),
    imports("plugins-of-runner", "plugins/manifest.py", "import toolrunner.runner.settings.settings"),
    imports("sandbox-of-plugins", "sandbox/box.py", "def late():\n    from toolrunner.plugins.manifest import Manifest\n    return Manifest"),
    imports("sandbox-of-pydantic", "sandbox/limits.py", "import pydantic"),
    imports("inside-of-sandbox", "sandbox/inside/cell.py", "from toolrunner.sandbox.limits import Limits"),
    imports("inside-relative", "sandbox/inside/cell.py", "from ..limits import Limits"),
    imports("inside-of-psutil", "sandbox/inside/warden.py", "import psutil"),
    imports("parent-of-the-worker", "runner/program.py", "from toolrunner.sandbox.inside import worker"),
    imports("parent-of-the-cell", "sandbox/box.py", "import toolrunner.sandbox.inside.cell as cell"),
    imports("bundled-of-ours", "plugins/bundled/palette.py", "from toolrunner.runner.errors import GovernedError"),
    imports("of-tests", "runner/call.py", "from tests.conftest import ISOLATIONS"),
)  # fmt: skip

PLACE = (
    mutant("P12-ONE-PLACE", "fastapi", append("runner/errors.py", "from fastapi import HTTPException\n")),
    mutant("P12-ONE-PLACE", "starlette", append("plugins/errors.py", "import starlette.responses\n")),
    mutant("P12-ONE-PLACE", "ctypes", append("sandbox/inside/seccomp.py", "import ctypes\n")),
    mutant("P12-ONE-PLACE", "ctypes-in-the-parent", append("sandbox/spawn.py", "from ctypes import CDLL\n")),
    mutant("P12-ONE-PLACE", "ctypes-in-a-function", append("api/cli/doctor.py", "def libc():\n    import ctypes.util as found\n    return found\n")),
)  # fmt: skip

UNREADABLE = (
    mutant("P12-UNREADABLE", "syntax", append("runner/call.py", "def broken(:\n")),
    mutant("P12-UNREADABLE", "null", append("runner/call.py", "x = 1\0\n")),
    mutant("P12-UNREADABLE", "indentation", append("runner/call.py", "def late():\nx = 1\n")),
    mutant("P12-UNREADABLE", "encoding", swap("runner/call.py", '"""The caller', '# coding: utf-7\n"""The caller')),
    mutant("P12-UNREADABLE", "unfinished", append("runner/call.py", '"""no end\n')),
    mutant("P12-UNREADABLE", "the-choke-point", append(RUNNER, "def broken(:\n")),
)  # fmt: skip

ALL: tuple[Case, ...] = (
    *mutants.DIRECT, *mutants.CODE, *mutants.EXISTS, *mutants.SIGNATURE, *mutants.PAIR,
    *mutants.STEPS, *mutants.METRICS, *mutants.BYPASS, *mutants.REGISTRY_CASES, *ESCAPE, *ENVELOPE,
    *TRY_AROUND, *SERVICES, *DOORS, *RAW, *DIRECTION, *PLACE, *UNREADABLE,
)  # fmt: skip
