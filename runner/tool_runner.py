"""ToolRunner: the single choke point. Every plugin call of a service goes through ``run``.

It looks the plugin up, validates, hands the call to the sandbox, judges how it ended and records
it in the registry, exactly once, whatever happens. It never imports plugin code.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import time
import traceback
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

from toolrunner.plugins.discovery import Plugin
from toolrunner.plugins.manifest import ManifestError
from toolrunner.runner.admission import Admission
from toolrunner.runner.call import Call, under_way
from toolrunner.runner.call_log import log_failure, log_printed
from toolrunner.runner.confinement import build_sandbox, listener
from toolrunner.runner.envelope import Envelope
from toolrunner.runner.errors import Blame, ErrorType, GovernedError, one_line
from toolrunner.runner.failures import (
    SuspendedError,
    envelope_of,
    failure_of,
    short_of,
    verdict_of,
)
from toolrunner.runner.many import arun_many, flat, run_many
from toolrunner.runner.names import name_of, unknown
from toolrunner.runner.payloads import validation
from toolrunner.runner.payloads.files import validate_files_payload, with_image_as_file
from toolrunner.runner.payloads.labels import labelled
from toolrunner.runner.payloads.validation import Payload
from toolrunner.runner.plugin_files import PluginFiles
from toolrunner.runner.program import box_name, build_program, network_refusal
from toolrunner.runner.reasons import reason, reason_of
from toolrunner.runner.registry.registry import PluginRegistry, PluginState, PluginStatus
from toolrunner.runner.replay.keeping import Failure, keeper_of
from toolrunner.runner.settings.changes import in_force
from toolrunner.runner.settings.settings import Settings
from toolrunner.runner.shared_places import PlacesShare
from toolrunner.runner.start_mode import Start, calls_together, start_asked
from toolrunner.runner.threads import CallThreads
from toolrunner.runner.verdict import Outcome, judge
from toolrunner.sandbox.box import SetupError
from toolrunner.sandbox.ending import BoxFigures, Ending, Isolation, ResidentFigures
from toolrunner.sandbox.exchange.messages import Request
from toolrunner.sandbox.forks import ForkedError
from toolrunner.sandbox.probe import Trial
from toolrunner.sandbox.profile import Program
from toolrunner.sandbox.sandbox import Sandbox, lacking_words
from toolrunner.sandbox.shortage import NoThreadError, is_shortage

Result = dict[str, Any]
# Either a result or ``None``: no type checker narrows the one by a test of the other, and ``Any``
# in a union spares callers a second test (as typeshed does it where None is possible).
MaybeResult = Result | Any

_LOG = logging.getLogger("toolrunner.runner")
_MOST_REPLACED = 20  # times: each is a moment in which an installer may strike
LOG_TAIL_CHARACTERS = 4096
CLOSED = "this ToolRunner is closed; make a new one"


class ToolRunner:
    """Runs plugins, each call in a box of its own. Thread-safe; a context manager."""

    def __init__(
        self,
        registry: PluginRegistry | None = None,
        *,
        settings: Settings | None = None,
        sandbox: Sandbox | None = None,
    ) -> None:
        """Without a ``registry`` the bundled and the allowed plugins are discovered.

        ``settings`` default to the environment's and the configuration file's. ``sandbox`` is
        for those who confine differently; it is closed with this object.
        """
        self._settings = settings if settings is not None else Settings.load()
        if registry is None:
            registry = PluginRegistry.discover(self._settings.plugins, settings=self._settings)
        self.registry = registry
        registry.look_below(self._settings.state)
        registry.suspend_after(self._settings.breaker_failures, self._settings.breaker_seconds)
        self._sandbox = sandbox or build_sandbox(self._settings)
        self._admission = Admission(
            self._settings.max_concurrent,
            self._settings.max_parallel,
            self._settings.max_waiting,
            self._settings.queue_seconds,
        )
        self._files = PluginFiles()
        self._kept = keeper_of(self._settings, registry)
        self._threads = CallThreads(self._admission.most_calls)
        # Why nothing is run any more; empty while it is open.
        self.closed_because = ""

    def run(
        self, plugin_name: str, payload: Mapping[str, Any], *, call: Call | None = None
    ) -> tuple[MaybeResult, Envelope | None]:
        """Run a plugin once; return ``(result, None)`` or ``(None, envelope)``.

        Raises nothing that the caller, the plugin or the host does wrong. ``KeyboardInterrupt``
        alone passes, after the call has been killed and recorded.
        """
        started = time.monotonic()
        name = name_of(plugin_name)
        call = call if call is not None else Call()
        result: Result | None = None
        plugin: Plugin | None = None
        checked: Payload | None = None
        # What is recorded if something passes that nobody catches here.
        failure: GovernedError | None = GovernedError(ErrorType.CANCELLED, "interrupted")
        try:
            plugin = self._look_up(name)
            _check_means(call)
            checked = self._validate(plugin, payload, call)
            reader = _reader(plugin)
            ending = self._call(name, plugin, checked, call, reader)
            outcome = judge(replace(ending, log_tail=ending.log_tail[-LOG_TAIL_CHARACTERS:]))
            result = self._result(outcome, plugin, ending, reader)
            call.artifacts = outcome.artifacts
            failure = None
        except GovernedError as error:
            failure = error
        except ForkedError as error:
            failure = GovernedError(ErrorType.SANDBOX_ERROR, str(error))
        except Exception as bug:  # noqa: BLE001 - the one place where bugs become envelopes
            is_short = is_shortage(bug) and not isinstance(
                bug, MemoryError
            )  # ours may ask for too much
            failure = short_of(bug) if is_short else self._bug(bug, call, name)
        finally:
            elapsed_ms = round((time.monotonic() - started) * 1000)
            state = self._state_after(name, failure)
            with _apart(call):
                self.registry.update_execution_metrics(name, state, elapsed_ms, failure is not None)
            self._tell(name, call, failure, plugin)
            with _apart(call):
                self._keep(call, failure, plugin, checked)
        if failure is None:
            return result, None
        envelope = envelope_of(name or None, call, failure)
        # Its traceback has this frame and others, and some of these have it: a payload would stay
        # until the garbage is collected.
        failure.with_traceback(None)
        failure = None
        return None, envelope

    def _bug(self, bug: Exception, call: Call, name: str) -> GovernedError:
        """Return what a caller is told of a bug; the log has all of it."""
        with _apart(call):
            _LOG.exception("call %s of plugin %r failed inside the runner", call.call_id, name)
        message = f"{type(bug).__name__} in the runner itself; its log has the traceback"
        return GovernedError(ErrorType.INTERNAL_ERROR, message, traceback=traceback.format_exc())

    async def arun(
        self, plugin_name: str, payload: Mapping[str, Any], *, call: Call | None = None
    ) -> tuple[MaybeResult, Envelope | None]:
        """Run a plugin as ``run`` does, without blocking the event loop.

        Cancelling the task kills the call; the task ends when the call has ended and is recorded.
        ``on_progress`` is called in another thread than the loop's.
        """
        handle = call if call is not None else Call()
        try:
            return await self._threads.run(
                lambda: self.run(plugin_name, payload, call=handle), handle.cancel
            )
        except NoThreadError as error:
            handle.without = error  # it is recorded, and ends at once
            return self.run(plugin_name, payload, call=handle)

    def map(
        self,
        plugin_name: str,
        payloads: Iterable[Mapping[str, Any]],
        *,
        parallel: int | None = None,
    ) -> Generator[tuple[int, MaybeResult, Envelope | None, Call], None, None]:
        """Run a plugin on each payload; yield ``(index, result, error, call)`` as the calls end.

        At most ``parallel`` calls (``max_parallel`` of the settings, times the plugin's ``batch``)
        are ahead of who takes the answers, so ``payloads`` may be of any length. Closing the
        iterator cancels what runs. Raises ValueError for less than one at once, and what iterating
        over ``payloads`` raises.
        """
        return flat(
            run_many(
                lambda payload, call: self.run(plugin_name, payload, call=call),
                payloads,
                self._parallel(plugin_name, parallel),
            )
        )

    async def amap(
        self,
        plugin_name: str,
        payloads: Iterable[Mapping[str, Any]],
        *,
        parallel: int | None = None,
    ) -> AsyncGenerator[tuple[int, MaybeResult, Envelope | None, Call], None]:
        """Do what ``map`` does, without blocking the event loop."""
        most = self._parallel(plugin_name, parallel)
        many = arun_many(
            lambda payload, call: self.arun(plugin_name, payload, call=call), payloads, most
        )
        async with contextlib.aclosing(many):
            async for index, answer, call in many:
                yield (index, *answer, call)

    def _parallel(self, plugin_name: str, asked: int | None) -> int:
        if asked is None:
            try:
                manifest = self.registry.plugin(plugin_name).manifest
            except (KeyError, ManifestError):
                return self._settings.max_parallel  # each call will say so
            return self._settings.max_parallel * calls_together(manifest, self._settings)
        if asked < 1:
            message = f"parallel is {asked}; give the number of calls at once, 1 or more"
            raise ValueError(message)
        return asked

    def start(self, plugin_name: str) -> Start:
        """Load a plugin now, if it can be warm, and tell how its calls start from here on.

        Raises ``GovernedError`` for a plugin that is unknown or cannot run here.
        """
        name = name_of(plugin_name)
        plugin = self._usable(name, self._known(name))
        manifest = plugin.manifest
        program = self._program(name, plugin)
        mode, reasons = start_asked(manifest, self._settings)
        if mode == "cold":
            return Start(mode, reasons)
        limits = manifest.limits.capped(self._settings.caps)
        try:
            found = self._sandbox.start(program, limits, resident=mode == "resident")
        except SetupError as error:
            return Start("failed", (str(error),))
        if not isinstance(found, Ending):
            return Start("cold", found) if found else Start(mode)
        outcome = judge(found)
        if outcome.error_type is not None and outcome.error_type.blame is Blame.PLUGIN:
            self.registry.mark_failed(name, reason(outcome.error_type, outcome.message))
        return Start("failed", (f"{outcome.error_type}: {outcome.message}",))

    def warm_up(self, *plugin_names: str) -> dict[str, Start]:
        """Load plugins before their first calls; return how the calls of each start.

        One that cannot be loaded counts as FAILED, with the reason, until a call succeeds.
        Raises ``GovernedError`` for a plugin that is unknown or cannot run here.
        """
        return {name: self.start(name) for name in plugin_names}

    def reload(self, settings: Settings | None = None) -> None:
        """Discover the plugins anew; calls in flight end as they began.

        ``settings``: what counts from now on; sizes and numbers of boxes, places and threads stay.
        Raises DiscoveryError, and changes nothing.
        """
        self.registry.reload(settings)
        if settings is not None:
            self._settings = in_force(self._settings, settings)

    def share_places(self, share: PlacesShare) -> None:
        """Take places from those of all workers of a server; before the first call, and once."""
        self._admission = Admission(
            share.places, share.parallel, share.max_waiting, self._settings.queue_seconds, share
        )
        self._threads = CallThreads(self._admission.most_calls)

    @property
    def most_calls(self) -> int:
        """How many calls may run and wait in this process."""
        return self._admission.most_calls

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return self._admission.waiting

    def boxes(self) -> dict[str, BoxFigures]:
        """Return what there is to tell of the warm boxes of each plugin that has or had some."""
        return self._sandbox.boxes()

    def residents(self) -> dict[str, ResidentFigures]:
        """Return what there is to tell of the residents of each plugin that has or had some."""
        return self._sandbox.residents()

    def box_of(self, plugin_name: str) -> str:
        """Return what a plugin's processes go by: tools share them, if their limits are equal.

        Any name that nobody knows is its own.
        """
        try:
            return box_name(self.registry.plugin(plugin_name), self._settings.caps)
        except (KeyError, ManifestError):
            return plugin_name

    def isolation(self) -> Isolation:
        """Return what confines calls here, found out by trying."""
        return self._sandbox.isolation()

    def trials(self) -> tuple[Trial, ...]:
        """Return how that was found out, layer by layer."""
        return self._sandbox.trials()

    def gaps(self) -> tuple[str, ...]:
        """Return why no call may run here: what this host cannot isolate; empty when they may."""
        return self._sandbox.gaps()

    def runnable(self) -> dict[str, str]:
        """Return the version of each plugin that takes calls now, and that may run here.

        Raises OSError while nobody can find out what this host can isolate.
        """
        if self._gaps():
            return {}
        found = self.registry.runnable()
        return {name: version for name, version in found.items() if not self._refused(name)}

    def unfit(self, plugin_name: str) -> str:
        """Return in words why a plugin that is there may not run here; "" if it may.

        Raises OSError as ``runnable``.
        """
        status = self.registry.own_status(plugin_name)
        if status is not None and status.state == PluginState.UNAVAILABLE:
            return f"it cannot run here: {one_line(status.reason)}"
        return "; ".join(self._gaps()) or self._refused(plugin_name)

    def _gaps(self) -> tuple[str, ...]:
        try:
            return self._sandbox.gaps()
        except SetupError as error:
            failure = error.failure
            message = f"{failure.operation}: {failure.message}; {failure.remedy}"
            raise OSError(failure.errno or errno.EAGAIN, message) from error

    def _refused(self, name: str) -> str:
        """Return why a plugin may not run here that any other may."""
        try:
            manifest = self.registry.plugin(name).manifest
        except (KeyError, ManifestError):  # what it lacks of its own is the registry's to say
            return ""
        lacking = self._sandbox.layers().lacks(manifest.require)
        return lacking_words(lacking) or network_refusal(manifest, self._settings)

    def _look_up(self, name: str) -> Plugin:
        """Return the plugin, marked as running; refuse one that is unknown or cannot run here."""
        status = self._known(name)
        self.registry.mark_running(name)
        return self._usable(name, status)

    def _known(self, name: str) -> PluginStatus:
        if not name:
            message = "no plugin was named; give the name of one as a string"
            raise GovernedError(ErrorType.PLUGIN_NOT_FOUND, message)
        status = self.registry.own_status(name)
        if status is None:
            raise GovernedError(
                ErrorType.PLUGIN_NOT_FOUND, unknown(name, self.registry.list_plugins())
            )
        return status

    def _check_open(self) -> None:
        if self.closed_because:
            details = {
                "operation": "run the call",
                "errno": None,
                "remedy": "make a new one",
                "retryable": False,  # it stays closed
            }
            raise GovernedError(ErrorType.SANDBOX_ERROR, self.closed_because, details)

    def _usable(self, name: str, status: PluginStatus) -> Plugin:
        self._check_open()
        if status.state == PluginState.UNAVAILABLE:
            message = f"{name} cannot run here: {status.reason}"
            raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message)
        if status.suspended_by:
            self._refuse_suspended(name)
        try:
            return self.registry.plugin(name)
        except ManifestError as error:
            reason = f"ManifestError: {error}"
            self.registry.mark_unavailable(name, reason)
            message = f"{name} cannot run here: {reason}"
            raise GovernedError(ErrorType.PLUGIN_UNAVAILABLE, message) from error

    def _refuse_suspended(self, name: str, call_id: str = "") -> None:
        standing = self.registry.refusal(name, call_id)
        if standing is not None:
            raise SuspendedError(name, standing)

    def _validate(self, plugin: Plugin, payload: Mapping[str, Any], call: Call) -> Payload:
        """Check the payload against what the plugin takes; return it ready to be sent."""
        manifest = plugin.manifest
        cap = self._settings.caps.get("payload_mb", manifest.limits.payload_mb)
        most = min(manifest.limits.payload_mb, cap)
        if manifest.input == "json":
            checked = validation.validate_json_payload(
                payload, manifest.input_schema, most, lambda: call.cancelled
            )
        elif manifest.input == "files":
            checked = validate_files_payload(payload, manifest.accepts, manifest.name)
        else:
            payload = labelled(payload, manifest.accepts, most)
            checked = validation.validate_input_payload(payload)
            validation.check_accepts(payload["mime_type"], manifest.accepts, manifest.name)
        validation.check_size(checked, most)
        if manifest.command and checked.image is not None:
            return with_image_as_file(checked)
        return checked

    def _program(self, name: str, plugin: Plugin) -> Program:
        choice = self.registry.choice(name)
        return build_program(plugin, self._settings, self._files, choice)

    def _call(
        self,
        name: str,
        plugin: Plugin,
        payload: Payload,
        call: Call,
        reader: validation.ResultReader,
    ) -> Ending:
        """Run the plugin in a box and note on the handle what it used."""
        if call.used:
            message = "this Call has served a call already; make a new one for each"
            raise GovernedError(ErrorType.VALIDATION_ERROR, message)
        call.used = True
        manifest = plugin.manifest
        program = self._program(name, plugin)
        limits = manifest.limits.capped(self._settings.caps)
        start, _ = start_asked(manifest, self._settings)
        self._refuse_suspended(name, call.call_id)
        with (
            under_way(call),
            self._admission.place(
                program.name, call.interrupt, call.caller, together=program.batch
            ),
        ):
            call.placed = time.monotonic()
            self._check_open()  # it may have been closed while the call waited
            if call.on_begin is not None:
                call.on_begin()
            for _ in range(_MOST_REPLACED):
                ending = self._sandbox.call(
                    program,
                    limits,
                    Request(
                        call.call_id,
                        payload.head_json,
                        payload.image,
                        files=payload.files,
                        image_by_path=manifest.input == "image",
                        tool=manifest.tool,
                        traceparent=call.traceparent,
                    ),
                    interrupt=call.interrupt,
                    listener=listener(manifest, call),
                    require=manifest.require,
                    start=start,
                    owner=call.caller if self._settings.resident_per == "caller" else "",
                    on_behalf_of=call.caller,
                    is_sound=reader.is_sound,
                )
                if ending.setup is None or ending.setup.errno != errno.ESTALE:
                    break
                # Its file, or its environment, is another one than was found; nothing has run yet.
                self._files.forget()
                self.registry.look_again()
                program = self._program(name, plugin)
        call.began = ending.began
        call.usage = ending.usage
        call.isolation = ending.isolation
        call.log_tail = ending.log_tail
        if ending.setup is not None:
            self._check_open()  # it was closed under the call: that is what there is to say
        return ending

    def _result(
        self, outcome: Outcome, plugin: Plugin, ending: Ending, reader: validation.ResultReader
    ) -> Result:
        """Return the result of a call that succeeded; raise what its outcome says otherwise."""
        if outcome.error_type is None:
            assert outcome.result_body is not None
            known = reader.known(outcome.result_body)
            return known or reader.checked(validation.parse_result(outcome.result_body))
        limits = plugin.manifest.limits.capped(self._settings.caps)
        raise failure_of(outcome.error_type, outcome, limits, ending.usage)

    def _state_after(self, name: str, failure: GovernedError | None) -> str:
        """Return the plugin's state after a call: only its own fault makes it FAILED."""
        if failure is None:
            return PluginState.INITIALIZED.value
        is_suspended = isinstance(failure, SuspendedError)
        if failure.error_type.blame is Blame.PLUGIN and not is_suspended:
            self.registry.note_fault(name, reason_of(failure))
            return PluginState.FAILED.value
        return self.registry.settled_state(name)

    def _tell(
        self, name: str, call: Call, failure: GovernedError | None, plugin: Plugin | None
    ) -> None:
        """Say how a call has ended: what went wrong to the log, and the rest to the breaker."""
        why = ""
        if failure is not None:
            why = reason_of(failure)
            with _apart(call):
                # One that cannot be used has a version all the same.
                version = (
                    self.registry.version_of(name) if plugin is None else plugin.manifest.version
                )
                log_failure(name, call, failure, plugin, version)
        else:
            with _apart(call):
                log_printed(name, call, plugin)
        with _apart(call):
            self.registry.heard(name, call.call_id, verdict_of(failure, plugin), why)

    def _keep(
        self,
        call: Call,
        failure: GovernedError | None,
        plugin: Plugin | None,
        payload: Payload | None,
    ) -> None:
        """Write down what is needed to run a failed call again, if the operator wants that."""
        if self._kept is None or failure is None or plugin is None or payload is None:
            return
        self._kept.keep(Failure(plugin, payload, call, failure, self._settings.caps))

    def close(self) -> None:
        """End all boxes, with the calls that still run in them, and the threads.

        Calls from here on get a ``SandboxError``. In a fork of the process it ends what that fork
        has started, and nothing else.
        """
        self.closed_because = self.closed_because or CLOSED
        self._sandbox.close()
        self._threads.close()
        self._admission.close()

    def __enter__(self) -> ToolRunner:
        if self.closed_because:
            raise RuntimeError(self.closed_because)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@contextlib.contextmanager
def _apart(call: Call) -> Iterator[None]:
    """Let what is done around a call, in code of others too, change neither its outcome nor counts.

    Such as what handlers of the log raise: also for what is logged here.
    """
    try:
        yield
    except Exception:  # noqa: BLE001 - logged; the call has ended as it did
        with contextlib.suppress(Exception):
            _LOG.exception("call %s has its outcome; what was done around it failed", call.call_id)


def _check_means(call: Call) -> None:
    if call.without is not None:
        raise call.without


def _reader(plugin: Plugin) -> validation.ResultReader:
    if plugin.examined:
        return validation.ResultReader()  # it answers what it takes, and not what its manifest says
    manifest = plugin.manifest
    return validation.ResultReader(
        manifest.error_key, manifest.output_schema, is_printed=bool(manifest.command)
    )
