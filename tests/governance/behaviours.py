"""Edits of what governed execution does; each dies in ``tests/phase_11`` or ``tests/phase_12``."""

from __future__ import annotations

from tests.governance.edits import Case, Edit, innocent, swap
from tests.governance.violations import (
    ANALYSIS,
    ANSWERED,
    CALL,
    CHECK,
    DISPATCHER,
    EXECUTE,
    JOB_RUN,
    JOBS,
    PLUGINS,
    RECORD,
    REGISTRY,
    ROUTE,
    RUN_JOB,
    RUNNER,
)  # fmt: skip

SHOWN = "api/shown.py"
FAILURES = "runner/failures.py"
STATE = "runner/registry/plugin_state.py"
SHARED = "runner/registry/shared_metrics.py"
COUNTS = "runner/registry/counts.py"
VALIDATION = "runner/payloads/validation.py"
INTAKE = "runner/payloads/intake.py"
RESULT = "            result = self._result(outcome, plugin, ending, reader)\n"
STEPS = "            plugin = self._look_up(name)\n"
BROAD = (
    "        except Exception as bug:  # noqa: BLE001 - the one place where bugs become envelopes\n"
)
FAILED = "        except GovernedError as error:\n            failure = error\n"
MIME = '    check_mime_type(head.get("mime_type"))\n'


def b(name: str, path: str, old: str, new: str, *more: Edit) -> Case:
    """Return a case of one place that is written otherwise."""
    return innocent(name, swap(path, old, new), *more)


RUN = (
    b("artifacts-of-a-failure", RUNNER, RESULT, "            call.artifacts = outcome.artifacts\n" + RESULT),
    b("recorded-as-another", RUNNER, RECORD, RECORD.replace("(name,", "(name.partition(':')[0],")),
    b("called-to-warm-up", RUNNER, "        return {name: self.start(name) for name in plugin_names}\n", "        for name in plugin_names:\n            self.run(name, {})\n        return {name: self.start(name) for name in plugin_names}\n"),
    b("large-payloads-spared", VALIDATION, "    check_strict(head)\n    checked = Payload(head)\n    if schema", "    if len(head) < 5000:\n        check_strict(head)\n    checked = Payload(head)\n    if schema"),
    b("size-spared-in-other-threads", RUNNER, "        validation.check_size(checked, most)\n", "        import threading\n        if threading.current_thread() is threading.main_thread():\n            validation.check_size(checked, most)\n"),
    b("validated-unless-the-environment-says-so", RUNNER, "        manifest = plugin.manifest\n        cap =", "        import os\n        manifest = plugin.manifest\n        if os.environ.get('TOOLRUNNER_QUICK') and manifest.input == 'json':\n            return Payload(dict(payload))\n        cap ="),
    b("residents-spared", RUNNER, "        manifest = plugin.manifest\n        cap =", "        manifest = plugin.manifest\n        if manifest.start == 'resident' and manifest.input == 'json':\n            return Payload(dict(payload))\n        cap ="),
    b("checked-at-first", RUNNER, "        manifest = plugin.manifest\n        cap =", "        manifest = plugin.manifest\n        self._checked = getattr(self, '_checked', 0) + 1\n        if self._checked > 20 and manifest.input == 'json':\n            return Payload(dict(payload))\n        cap ="),
    b("result-grows-when-asked", RUNNER, RESULT, RESULT + '            result = {**result, "_usage": asdict(call.usage)} if payload.get("usage") else result\n'),
    b("result-renamed-when-asked", RUNNER, RESULT, RESULT + '            result = {"value": result} if payload.get("options") else result\n'),
    b("large-answer-is-success", RUNNER, "        raise failure_of(outcome.error_type, outcome, limits, ending.usage)\n", "        if outcome.error_type is ErrorType.OUTPUT_LIMIT_EXCEEDED:\n            return {'truncated': True}\n        raise failure_of(outcome.error_type, outcome, limits, ending.usage)\n"),
    b("reply-before-limits", "runner/verdict.py", "    _limit_enforced,\n    _killed_from_outside,\n    _died_by_signal,\n    _broke_protocol,\n    _ended_without_reply,\n    _returned,\n", "    _broke_protocol,\n    _returned,\n    _limit_enforced,\n    _killed_from_outside,\n    _died_by_signal,\n    _ended_without_reply,\n"),
    b("words-of-a-bug-in-the-message", RUNNER, "in the runner itself; its log has the traceback\"", "in the runner itself: {bug}\""),
    b("validated-unless-it-is-ready", RUNNER, "        manifest = plugin.manifest\n        cap =", "        if isinstance(payload, Payload):\n            return payload\n        manifest = plugin.manifest\n        cap ="),
    b("options-of-files-not-strict", "runner/payloads/files.py", "    check_strict(head)\n    files: dict", "    files: dict"),
    b("results-trusted-by-the-environment", VALIDATION, "        check_no_error(result, self._error_key)\n", "        import os\n        if os.environ.get('TOOLRUNNER_TRUST_RESULTS'):\n            return result\n        check_no_error(result, self._error_key)\n"),
    b("bug-lost-by-map", "runner/many.py", "            yield index, future.result(), call\n    finally:\n        if os.getpid()", "            if future.exception() is None:\n                yield index, future.result(), call\n    finally:\n        if os.getpid()"),
    b("memory-error-is-success", RUNNER, BROAD, "        except MemoryError:\n            result, failure = {}, None\n" + BROAD),
    b("validated-for-strangers-only", RUNNER, CHECK, '            checked = Payload(dict(payload)) if call.caller and plugin.manifest.input == "json" else self._validate(plugin, payload, call)\n'),
    b("missing-file-is-success", RUNNER, BROAD, "        except FileNotFoundError:\n            result, failure = {}, None\n" + BROAD),
    b("validated-unless-it-says-so", RUNNER, CHECK, '            checked = Payload(dict(payload)) if isinstance(payload, dict) and payload.get("_checked") else self._validate(plugin, payload, call)\n'),
    b("validated-unless-marked-inside", VALIDATION, "    head = object_of(payload)\n    check_strict(head)\n    checked = Payload(head)\n    if schema", "    head = object_of(payload)\n    if '_checked' not in head:\n        check_strict(head)\n    checked = Payload(head)\n    if schema"),
    b("validated-for-others-than-one", RUNNER, CHECK, '            checked = Payload(dict(payload)) if call.caller == "scheduler" else self._validate(plugin, payload, call)\n'),
    b("validated-once-an-object", RUNNER, CHECK, "            self._valid = getattr(self, '_valid', {})\n            checked = self._valid.get(id(payload)) or self._validate(plugin, payload, call)\n            self._valid[id(payload)] = checked\n"),
    b("validated-once-a-plugin", RUNNER, CHECK, "            self._valid = getattr(self, '_valid', set())\n            checked = Payload(dict(payload)) if name in self._valid else self._validate(plugin, payload, call)\n            self._valid.add(name)\n"),
    b("bundled-without-an-image", RUNNER, CHECK, '            is_ours = plugin.origin == "bundled" and isinstance(payload, dict) and "image" not in payload\n            checked = Payload(dict(payload)) if is_ours else self._validate(plugin, payload, call)\n'),
    b("time-without-validation", RUNNER, CHECK, CHECK + "            started = time.monotonic()\n"),
    b("bug-around-a-job-lost", DISPATCHER, JOB_RUN, f"        import contextlib\n        result = error = None\n        with contextlib.suppress(Exception):\n    {JOB_RUN}"),
    b("result-changed-after-validation", RUNNER, RESULT, RESULT + '            result.setdefault("cached", False)\n'),
    b("result-unwrapped", RUNNER, RESULT, RESULT + '            result = result.get("result", result)\n'),
    b("result-without-private-keys", RUNNER, RESULT, RESULT + '            result = {k: v for k, v in result.items() if not k.startswith("_")}\n'),
    b("state-always-good", RUNNER, "            state = self._state_after(name, failure)\n", "            state = PluginState.INITIALIZED.value\n"),
    b("state-bad-for-the-callers-fault", RUNNER, "        if failure.error_type.blame is Blame.PLUGIN and not is_suspended:\n", "        if failure.error_type.blame is not Blame.HOST and not is_suspended:\n"),
    b("state-bad-for-the-hosts-fault", RUNNER, "        if failure.error_type.blame is Blame.PLUGIN and not is_suspended:\n", "        if failure.error_type.blame is not Blame.CALLER and not is_suspended:\n"),
    b("had-error-by-state", RUNNER, RECORD, RECORD.replace("failure is not None", 'state == "FAILED"')),
    b("had-error-by-result", RUNNER, RECORD, RECORD.replace("failure is not None", "not result")),
    b("had-error-never", RUNNER, RECORD, RECORD.replace("failure is not None", "False")),
    b("had-error-upside-down", RUNNER, RECORD, RECORD.replace("failure is not None", "failure is None")),
    b("time-in-seconds", RUNNER, "round((time.monotonic() - started) * 1000)", "round(time.monotonic() - started)"),
    b("time-constant", RUNNER, "round((time.monotonic() - started) * 1000)", "0"),
    b("time-of-the-call-alone", RUNNER, "round((time.monotonic() - started) * 1000)", "call.usage.wall_ms"),
    b("recorded-in-a-thread", RUNNER, RECORD, "            import threading\n            threading.Timer(0.05, self.registry.update_execution_metrics, (name, state, elapsed_ms, failure is not None)).start()\n"),
    b("running-not-marked", RUNNER, "        self.registry.mark_running(name)\n", ""),
    b("interrupt-swallowed", RUNNER, BROAD, "        except BaseException as bug:\n"),
    b("interrupt-counted-as-success", RUNNER, '        failure: GovernedError | None = GovernedError(ErrorType.CANCELLED, "interrupted")\n', "        failure: GovernedError | None = None\n"),
    b("bugs-escape", RUNNER, BROAD, "        except ValueError as bug:\n"),
    b("governed-errors-escape", RUNNER, FAILED, FAILED + "            raise\n"),
    b("swallowed-by-a-stack", RUNNER, "            ending = self._call(name, plugin, checked, call, reader)\n", "            import contextlib\n            with contextlib.ExitStack() as stack:\n                stack.push(lambda *error: True)\n                ending = self._call(name, plugin, checked, call, reader)\n                result = self._result(judge(ending), plugin, ending, reader)\n            failure = None\n            return result, None\n"),
    b("look-up-outside", RUNNER, "        try:\n" + STEPS, "        plugin = self._look_up(name)\n        try:\n"),
    b("early-answer", RUNNER, "        try:\n" + STEPS, "        if not name:\n            return None, self._envelope(None, call, GovernedError(ErrorType.PLUGIN_NOT_FOUND, 'none'))\n        try:\n" + STEPS),
    b("validation-skipped-for-bundled", RUNNER, "        if manifest.input == \"json\":\n", "        if plugin.origin == \"bundled\":\n            return Payload({k: v for k, v in payload.items() if k != 'image'}, payload.get('image'))\n        if manifest.input == \"json\":\n"),
    b("schema-not-checked", RUNNER, "payload, manifest.input_schema, most, lambda", "payload, None, most, lambda"),
    b("accepts-not-checked", RUNNER, '            validation.check_accepts(payload["mime_type"], manifest.accepts, manifest.name)\n', ""),
    b("size-not-checked", RUNNER, "        validation.check_size(checked, most)\n", ""),
    b("output-loosely-parsed", RUNNER, "            return known or reader.checked(validation.parse_result(outcome.result_body))\n", "            import json\n            validation.parse_result(b'{}')\n            return json.loads(outcome.result_body)\n"),
    b("output-schema-not-checked", RUNNER, "known or reader.checked(validation.parse_result(outcome.result_body))", "known or validation.parse_result(outcome.result_body)"),
    b("known-output-not-checked", VALIDATION, "body, self.checked(parse_result(body))", "body, parse_result(body)"),
    b("error-in-a-result-is-success", VALIDATION, "        check_no_error(result, self._error_key)\n", ""),
    b("envelope-without-its-plugin", FAILURES, "        plugin=plugin,\n        call_id", "        plugin=None,\n        call_id"),
    b("envelope-without-traceback", FAILURES, "        traceback=failure.traceback,\n", ""),
    b("envelope-without-usage", FAILURES, "        usage=call.usage,\n", ""),
    b("both-answered", RUNNER, "        return None, envelope\n", "        return {}, envelope\n"),
    b("called-twice", RUNNER, "            ending = self._call(name, plugin, checked, call, reader)\n", "            ending = self._call(name, plugin, checked, Call(), reader)\n            ending = self._call(name, plugin, checked, call, reader)\n"),
    b("unavailable-run-all-the-same", RUNNER, "        if status.state == PluginState.UNAVAILABLE:\n", "        if status.state == 'GONE':\n"),
)  # fmt: skip

REGISTRY_CASES = (
    b("healed-when-looked-at", REGISTRY, "        own = self.own_status(name)\n        if own is None or", "        own = self.own_status(name)\n        if own is not None and own.state == PluginState.FAILED and own.success_count > 10:\n            self.mark_initialized(name)\n            own = self.own_status(name)\n        if own is None or"),
    b("no-time-not-shared", REGISTRY, "        elif self._shared is not None:\n            self._shared.record(", "        elif self._shared is not None and elapsed_ms:\n            self._shared.record("),
    b("refusals-of-suspended-ones-lost", REGISTRY, "            entry = self._entries.get(plugin_name)\n", "            is_lost = had_error and self._suspensions.standing(plugin_name).suspended_by\n            entry = None if is_lost else self._entries.get(plugin_name)\n"),
    b("operators-suspension-needs-a-breaker", "runner/registry/suspensions.py", "        return bool(self._failures) or standing.suspended_by == SuspendedBy.OPERATOR\n", "        return bool(self._failures)\n"),
    b("no-time-no-call", REGISTRY, "            if entry is not None:\n                before = entry.settled\n", "            if entry is not None and (elapsed_ms or had_error):\n                before = entry.settled\n"),
    b("record-of-odd-states-lost", REGISTRY, "            if entry is not None:\n                before = entry.settled\n", "            if entry is not None and state != 'UNAVAILABLE':\n                before = entry.settled\n"),
    b("long-calls-not-averaged", STATE, "        self.times_ms.append(max(0, round(elapsed_ms)))\n", "        if elapsed_ms < 3_600_000:\n            self.times_ms.append(max(0, round(elapsed_ms)))\n"),
    b("last-used-never", STATE, "        self.in_flight += 1\n        self.last_used = datetime.now(UTC)\n", "        self.in_flight += 1\n"),
    b("last-used-not-at-the-end", STATE, "        self.in_flight = max(0, self.in_flight - 1)\n        self.last_used = datetime.now(UTC)\n", "        self.in_flight = max(0, self.in_flight - 1)\n"),
    b("errors-not-counted", STATE, "            self.error_count += 1\n", "            pass\n"),
    b("errors-counted-as-successes", STATE, "        else:\n            self.success_count += 1\n", "        self.success_count += 1\n"),
    b("times-of-successes-only", STATE, "        self.times_ms.append(max(0, round(elapsed_ms)))\n", "        if not had_error:\n            self.times_ms.append(max(0, round(elapsed_ms)))\n"),
    b("mean-of-all", STATE, "deque(maxlen=AVERAGED_CALLS)", "deque()"),
    b("mean-whole", STATE, "                sum(self.times_ms) / len(self.times_ms)", "                sum(self.times_ms) // len(self.times_ms)"),
    b("last-time-is-the-first", STATE, "self.times_ms[-1] if", "self.times_ms[0] if"),
    b("in-flight-stays", STATE, "        self.in_flight = max(0, self.in_flight - 1)\n", ""),
    b("reason-stays", STATE, "        if state == PluginState.INITIALIZED:\n            self.reason = \"\"\n", ""),
    b("unavailable-revived", STATE, "        if self.is_available:\n            self.settle(self._state_after(state))\n", "        self.settle(self._state_after(state))\n"),
    b("record-dropped-when-slow", REGISTRY, "            if entry is not None:\n                before = entry.settled\n", "            if entry is not None and elapsed_ms < 20:\n                before = entry.settled\n"),
    b("unknown-raises", REGISTRY, "            entry = self._entries.get(plugin_name)\n", "            entry = self._entries[plugin_name]\n"),
    b("reload-forgets-counts", REGISTRY, "                    entry.take_over(old)\n", ""),
    b("shared-not-told", REGISTRY, "            self._shared.record(\n                plugin_name,\n                settled if is_news else None,\n                elapsed_ms,\n                had_error=had_error,\n                reason=reason,\n                failure=failure,\n            )\n", "            pass\n"),
    b("shared-errors-lost", COUNTS, "        self.errors += had_error\n", ""),
    b("shared-last-used-lost", COUNTS, "        counts.last_used = time.time()\n", ""),
    b("shared-in-flight-stays", COUNTS, "        self.in_flight -= 1\n", ""),
    b("status-cached", REGISTRY, "        own = self.own_status(name)\n", "        self._seen = getattr(self, '_seen', {})\n        own = self._seen.setdefault(name, self.own_status(name))\n"),
)  # fmt: skip

VALIDATION_CASES = (
    b("bytes-of-any-kind", VALIDATION, "    if _essence(mime_type) not in accepted:\n", "    if _essence(mime_type) not in {*accepted, UNKNOWN}:\n"),
    b("any-image", VALIDATION, "    if _essence(mime_type) not in accepted:\n", "    if _essence(mime_type) not in accepted and not mime_type.startswith('image/'):\n"),
    b("mime-type-of-spaces", VALIDATION, "not mime_type.strip()", "not mime_type"),
    b("mime-type-unchecked", VALIDATION, MIME, ""),
    b("empty-image", VALIDATION, "    if not image:\n        refuse", "    if image is None:\n        refuse"),
    b("loose-base64", INTAKE, "binascii.a2b_base64(part, strict_mode=True)", "binascii.a2b_base64(part)"),
    b("output-unchecked", VALIDATION, '        check(result, what="result")\n', "        pass\n"),
    b("output-list", VALIDATION, "    if isinstance(output, dict):\n", "    if isinstance(output, dict | list):\n"),
    b("output-none-is-empty", VALIDATION, "    if output is None:\n        what =", "    if output is None:\n        return {}\n    if output is ...:\n        what ="),
    b("input-not-strict", VALIDATION, "    check_strict(head)\n    return Payload(head, image)\n", "    return Payload(head, image)\n"),
    b("json-not-strict", VALIDATION, "    head = object_of(payload)\n    check_strict(head)\n    checked = Payload(head)\n    if schema", "    head = object_of(payload)\n    checked = Payload(head)\n    if schema"),
)  # fmt: skip

SERVICES = (
    b("outcome-forced", PLUGINS, '        outcome = "success" if error is None else error["error"]["type"]\n', '        outcome = "success"\n'),
    b("observer-not-told-of-errors", PLUGINS, "        self._observer(", "        error or self._observer("),
    b("retried", PLUGINS, CALL, CALL + "        if error is not None:\n            result, error = self._tool_runner.run(plugin_name, payload)\n"),
    b("errors-lost-in-a-thread", PLUGINS, CALL, "        import threading\n        found = [{}, None]\n        thread = threading.Thread(target=lambda: found.__setitem__(slice(None), self._tool_runner.run(plugin_name, payload, call=call)))\n        thread.start()\n        thread.join(1)\n        result, error = found\n"),
    b("interrupt-lost-in-a-thread", PLUGINS, CALL, "        from concurrent.futures import ThreadPoolExecutor\n        with ThreadPoolExecutor(1) as pool:\n            result, error = pool.submit(self._tool_runner.run, plugin_name, payload, call=call).result()\n"),
    b("retried-when-it-may-be", PLUGINS, CALL, CALL + '        if error is not None and error["error"]["details"]["retryable"]:\n            result, error = self._tool_runner.run(plugin_name, payload)\n'),
    b("slow-plugins-put-aside", PLUGINS, CALL, CALL + '        if error is not None and error["error"]["type"] == "TimeLimitExceeded":\n            self._tool_runner.registry.mark_unavailable(plugin_name, "slow")\n'),
    b("result-made-nice", PLUGINS, "        return result, error\n", "        return {**(result or {})} or None, error\n"),
    b("error-emptied", PLUGINS, "        return result, error\n", '        return result, error and {"error": error["error"], "_internal": {"traceback": ""}}\n'),
    b("answers-cached", JOBS, EXECUTE, "        key = (plugin_name, repr(payload))\n        self._answers = getattr(self, '_answers', {})\n        if key not in self._answers:\n            self._answers[key] = self._plugins.execute_plugin(plugin_name, payload, call=call)\n        return self._answers[key]\n"),
    b("handle-dropped", ANALYSIS, RUN_JOB, RUN_JOB.replace(", call=call", "")),
    b("options-dropped", ANALYSIS, RUN_JOB, "        payload = {k: v for k, v in payload.items() if k != 'options'}\n" + RUN_JOB),
    b("empty-payload-answered", ANALYSIS, RUN_JOB, "        if not payload:\n            return {}, None\n" + RUN_JOB),
    b("job-of-others-shown", JOBS, "job is not None and caller in {EVERYBODY, job.caller} else None", "job is not None else None"),
    b("job-submitted-elsewhere", ANALYSIS, "        return self._jobs.create_job(submission)\n", "        self._jobs.run_job(submission.plugin, submission.payload)\n        return self._jobs.create_job(submission)\n"),
    b("nobody-told-of-a-job", JOBS, "            self._on_created()\n", "            pass\n"),
    b("job-cancelled-for-others", JOBS, "        if self.get_job(job_id, caller) is None:\n            return None\n", ""),
)  # fmt: skip

HTTP = (
    b("traceback-when-asked", ROUTE, ANSWERED, ANSWERED + '        if request.headers.get("x-trace"):\n            response.headers["X-Trace"] = ascii([*envelope.values()][1])[:4000]\n'),
    b("nulls-dropped-by-the-route", ROUTE, '{"result": found.result, "plugin"', '{"result": {k: v for k, v in found.result.items() if v is not None}, "plugin"'),
    b("paths-cut-from-results-of-jobs", "api/http/jobs.py", '    document: dict[str, Any] = {"result": result, "plugin": job.plugin}\n', '    from toolrunner.api.shown import without_paths\n    shown = {k: without_paths(v) if isinstance(v, str) else v for k, v in result.items()}\n    document: dict[str, Any] = {"result": shown, "plugin": job.plugin}\n'),
    b("nulls-dropped-by-jobs", "runner/jobs/files.py", "        data = dumps(result)\n", "        data = dumps({k: v for k, v in result.items() if v is not None})\n"),
    b("options-dropped-by-jobs", "runner/jobs/payloads.py", "    head, tail = dict(payload), b\"\"\n", "    head, tail = {k: v for k, v in payload.items() if v}, b\"\"\n"),
    b("traceback-in-a-header", ROUTE, ANSWERED, ANSWERED + '        response.headers["X-Debug"] = repr(dict(envelope)["_" + "internal"]).encode("ascii", "replace").decode()\n'),
    b("traceback-in-a-body", ROUTE, ANSWERED, '        response = governed({**envelope["error"], "debug": dict(envelope)["_" + "internal"]})\n'),
    b("traceback-kept-with-a-job", DISPATCHER, "        return partial(self._store.finish, claim, status, error=endings.for_the_caller(public))\n", '        body, *rest = error.values()\n        return partial(self._store.finish, claim, status, error={**body, "debug": rest})\n'),
    b("log-of-plugins-told", SHOWN, "if key not in _OPERATORS_ONLY}", 'if key not in _OPERATORS_ONLY or error["details"]["blame"] == "plugin"}'),
    b("words-of-a-bug-told", "api/http/middleware.py", "            await bug()(scope, receive, answering)\n", "            import sys\n            await refusal(RequestError(ErrorType.INTERNAL_ERROR, repr(sys.exc_info()[1])))(scope, receive, answering)\n"),
)  # fmt: skip

WAYS = (
    b("failed-ones-dropped-from-many", "runner/many.py", "        for index, answer, call in many:\n            yield (index, *answer, call)", "        for index, answer, call in many:\n            if answer[0] is not None:\n                yield (index, *answer, call)"),
    b("traceback-lost-by-arun", RUNNER, "            return await self._threads.run(\n                lambda: self.run(plugin_name, payload, call=handle), handle.cancel\n            )\n", "            result, error = await self._threads.run(\n                lambda: self.run(plugin_name, payload, call=handle), handle.cancel\n            )\n            return result, error and {\"error\": error[\"error\"], \"_internal\": {\"traceback\": \"\"}}\n"),
    b("result-of-a-command-without-private-keys", "api/cli/calls.py", "        kept: tuple[Kept, ...] = ()\n        if not with_bytes", "        if result is not None:\n            result = {k: v for k, v in result.items() if not k.startswith('_')}\n        kept: tuple[Kept, ...] = ()\n        if not with_bytes"),
    b("crashed-jobs-are-cancelled", DISPATCHER, "        status = JobStatus.CANCELLED if kind == ErrorType.CANCELLED else", "        status = JobStatus.CANCELLED if kind in {ErrorType.CANCELLED, ErrorType.PLUGIN_CRASHED} else"),
    b("told-before-it-is-recorded", RUNNER, RECORD + "            self._tell(name, call, failure, plugin)\n", "            self._tell(name, call, failure, plugin)\n" + RECORD),
    b("log-kept-with-a-job", "runner/jobs/endings.py", "{k: v for k, v in error[\"details\"].items() if k != \"log_tail\"}", "dict(error[\"details\"])"),
    b("shared-errors-of-callers-lost", COUNTS, "        self.errors += had_error\n", "        self.errors += had_error and state is not None\n"),
)  # fmt: skip

ALL: tuple[Case, ...] = (*RUN, *REGISTRY_CASES, *VALIDATION_CASES, *SERVICES, *HTTP, *WAYS)
