"""The worker: loads one plugin in a confined cell, runs it once, sends one reply, and ends.

The only file of the project that runs a plugin. All of it after the import shares a process
with hostile code: nothing here protects anybody, and the parent believes nothing of it.
"""

from __future__ import annotations

import _thread
import json
import os
import socket
import sys
import time

from . import (
    answers,
    by_descriptor,
    bytecode,
    caches,
    children,
    command,
    inputs,
    jsonable,
    logs,
    mistakes,
    one_package,
    protocol,
    tools,
    wire,
)
from .context import Context
from .described import attempt, describe
from .parameters import is_coroutine, standing_at, with_context

TYPE_CHECKING = False  # without importing typing, which every box would pay for
if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, NoReturn

CONFINED_FRAME = protocol.HEADER.pack(protocol.CONFINED, 2) + b"{}"
_REHEARSED_BYTES = 1 << 24
_ERRORS = 2


class Plugin:
    """A loaded plugin: what runs it and warms it up, and what it was loaded by."""

    def __init__(
        self,
        run: Callable[[dict[str, Any], Context], object],
        run_batch: Callable[[list[dict[str, Any]], Context], object],
        warm_up: Callable[[], object] | None,
        order: dict[str, Any],
        *,
        is_async: bool,
    ) -> None:
        """``run`` and ``run_batch`` take a context, whether the plugin's own do or not.

        ``order``: to load it.
        """
        self.run = run
        self.run_batch = run_batch
        self.warm_up = warm_up
        self.order = order
        self.is_async = is_async


def load(channel: socket.socket, log_descriptor: int, order: dict[str, Any], rest: bytes) -> Plugin:
    """Load the plugin and return it; if it cannot be loaded, say so and end.

    ``rest``: what came with the order, the plugin's source and its caches.
    """
    own_pid = os.getpid()
    source, stored = caches.taken_apart(order, rest)
    caches.unpack(stored)
    logs.install(log_descriptor, order["log_level"])
    order["log"] = log_descriptor
    children.show_as_an_ordinary_interpreter()
    by_descriptor.install()
    mistakes.refuse_breakpoints()
    tell_where()
    try:
        plugin = load_plugin(order, source)
        if order["warms_up"]:
            warm_up(plugin, order["rehearsal"])
        packed = caches.pack() if order["wants_caches"] else b""
    except BaseException as error:
        if os.getpid() == own_pid:
            finish(channel, _thread.allocate_lock(), protocol.RAISED, describe(error, order))
        os._exit(1)
    if os.getpid() != own_pid:
        os._exit(1)
    for kind, left in ((protocol.SOURCES, bytecode.missing()), (protocol.CACHES, packed)):
        if left:
            wire.send(channel, kind, left)
    return plugin


def tell_where() -> None:
    """Have this process, and its forks, write where they are: when asked, and when they crash."""
    import faulthandler

    faulthandler.enable(file=_ERRORS, all_threads=False)
    try:
        faulthandler.register(protocol.WHERE_SIGNAL, file=_ERRORS, all_threads=False)
    except (ValueError, OSError):
        return  # a system without that signal


def warm_up(plugin: Plugin, rehearsal: str) -> None:
    """Do once what each call would do again: the plugin's own ``warm_up``, or a rehearsed call."""
    if plugin.is_async:
        import asyncio  # noqa: F401 - for its calls to find
    if plugin.warm_up is not None:
        settled(plugin.warm_up())
    if rehearsal:
        rehearse_call(plugin, json.loads(rehearsal))


def rehearse_call(plugin: Plugin, request: dict[str, Any]) -> bytes:
    """Run the plugin once, for nobody; return its result. What it writes to its scratch goes."""
    import base64

    payload = request["payload"]
    if request["image"]:
        payload["image"] = base64.b64decode(request["image"])
    before = set(os.listdir())
    if request["files"]:
        payload["files"] = inputs.written(
            (file["name"], file["mime_type"], base64.b64decode(file["data"]))
            for file in request["files"]
        )
    deadline = time.monotonic() + 3600
    terms = {"call_id": "warm-up", "deadline": deadline, "output_bytes": _REHEARSED_BYTES}
    context = Context(None, _thread.allocate_lock(), plugin.order, terms)
    result = jsonable.encode(settled(plugin.run(payload, context)), context.artifacts.attach)
    empty_but_for(before)
    return result


def empty_but_for(names: set[str]) -> None:
    """Take away what else lies in the working directory: each call finds its own empty."""
    import shutil

    for name in set(os.listdir()) - names:
        if os.path.isdir(name) and not os.path.islink(name):
            shutil.rmtree(name, ignore_errors=True)
        else:
            os.unlink(name)


def settled(value: Any) -> Any:
    """Return what a coroutine comes to, on an event loop of its own; any other value as it is."""
    if not hasattr(type(value), "__await__"):
        return value
    import asyncio

    async def wait() -> Any:
        return await value

    return asyncio.run(wait())


def reseed() -> None:
    """Give a cell random numbers of its own; ``random`` itself does that after every fork."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        attempt(numpy_random.seed, None)


def rehearse() -> None:
    """Do once, before there is a request, what each request does.

    The memory that it touches is copied now, and not while somebody waits.
    """
    jsonable.encode(json.loads(b'{"text": "", "numbers": [1, 0.5, true, null]}'))
    time.process_time()


def forget_scratch() -> None:
    """Have ``tempfile`` look for its folder anew: each cell has another one."""
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        attempt(lambda: setattr(tempfile, "tempdir", None), None)


def serve(channel: socket.socket, plugin: Plugin, *, is_fresh: bool) -> NoReturn:
    """Run the plugin on the one request, send the reply, end.

    A process that ``is_fresh`` has used no processor time, and its limit stands.
    """
    lock = _thread.allocate_lock()
    own_pid = os.getpid()
    request, payload = receive_request(channel)
    if not is_fresh:
        set_cpu_limit(request["cpu_seconds"])
    context = Context(channel, lock, plugin.order, request)
    kind, body = reply_of(plugin, payload, context)
    if os.getpid() != own_pid:
        # A child that the plugin forked and let return: the reply is its parent's to give.
        os._exit(1)
    finish(channel, lock, kind, body)


def serve_many(first: socket.socket, log_descriptor: int, plugin: Plugin) -> NoReturn:
    """Say that the plugin is loaded; serve one call after the other, each on ends of its own.

    They come by ``first``, in whose place each call's channel is put.
    """
    scratch = os.getcwd()
    folders = caches.folders()
    os.chdir("/")
    wire.send(first, protocol.LOADED, {})
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    place_of_channel = first.fileno()
    control = first.dup()
    first.detach()
    own_pid = os.getpid()
    while True:
        # In no folder of a call's, so that the last one's can be taken away.
        os.chdir("/")
        for place in (1, 2, place_of_channel, log_descriptor):
            os.dup2(null, place, inheritable=place in (1, 2))
        word, ends, _, _ = socket.recv_fds(control, 1, protocol.TURN_DESCRIPTORS)
        if not word:
            os._exit(0)
        places = (
            (ends[0], place_of_channel),
            (ends[1], 1),
            (ends[1], 2),
            (ends[2], log_descriptor),
        )
        for source, place in places:
            os.dup2(source, place, inheritable=place in (1, 2))
        for end in ends:
            os.close(end)
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=place_of_channel)
        os.chdir(scratch)
        caches.make(folders)
        serve_one(channel, plugin, own_pid)


def serve_one(channel: socket.socket, plugin: Plugin, own_pid: int) -> None:
    """Run the plugin on a request, or on a batch of them, and send the replies.

    The channel's end says that all is done.
    """
    lock = _thread.allocate_lock()
    request, payload = receive_request(channel)
    requests, payloads = [request], [payload]
    for _ in range(request["batch"] - 1):
        one, payload = receive_request(channel)
        requests.append(one)
        payloads.append(payload)
    set_cpu_limit(request["cpu_seconds"], again=True)
    context = Context(channel, lock, plugin.order, *requests)
    left = len(requests)
    # One by one: what a reply holds that becomes an artifact is sent before it.
    for kind, body in replies_of(plugin, payloads, context):
        if os.getpid() != own_pid:
            os._exit(1)
        flush_output()
        left -= 1
        with lock:
            wire.send(channel, kind, body)
            if left:
                continue
            # Whatever has kept the context can tell nothing any more.
            os.chdir("/")
            for place in (1, 2):
                os.dup2(0, place)
            os.dup2(0, channel.detach(), inheritable=False)


def receive_request(channel: socket.socket) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read one request; return its terms, and the payload as the plugin sees it."""
    request, image = wire.receive(channel, protocol.REQUEST)
    payload = request.pop("payload")
    if request["has_image"]:
        payload["image"] = image
    if "files" in request:
        files = inputs.shown(request["folder"], request["files"])
        payload |= {"image": files[0]} if request["image_by_path"] else {"files": files}
    return request, payload


def replies_of(
    plugin: Plugin, payloads: list[dict[str, Any]], context: Context
) -> Iterable[tuple[bytes, object]]:
    """Run the plugin; yield the frames that say what came of each payload."""
    if len(payloads) == 1:
        return [reply_of(plugin, payloads[0], context)]
    return answers.answers(
        lambda: result_of(plugin.run_batch, payloads, context),
        len(payloads),
        plugin.order,
        context.artifacts,
    )


def reply_of(plugin: Plugin, payload: dict[str, Any], context: Context) -> tuple[bytes, object]:
    """Run the plugin; return the kind and the body of the frame that says what came of it."""
    return answers.answer(
        lambda: result_of(plugin.run, payload, context), plugin.order, context.artifacts
    )


def result_of(run: Callable[[Any, Context], object], given: object, context: Context) -> object:
    """Return what the plugin returns, at last; its progress is told up to the newest."""
    try:
        return settled(run(given, context))
    finally:
        context.tell_newest()


def finish(channel: socket.socket, lock: _thread.LockType, kind: bytes, body: object) -> NoReturn:
    """Send the reply and end: no exit handler, finalizer or thread of a plugin runs on.

    The end waits for the parent, which looks once more at what the call has used.
    """
    flush_output()
    try:
        with lock:
            wire.send(channel, kind, body)
            channel.shutdown(socket.SHUT_WR)  # nobody can add to it any more
            channel.recv(1)
    finally:
        os._exit(0)


def flush_output() -> None:
    """Write out what was printed, whatever a plugin has put in the streams' place."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except BaseException:
            continue


def load_plugin(load: dict[str, Any], source: bytes) -> Plugin:
    """Import and construct the plugin, or look its program up."""
    if load["command"]:
        program = command.Command(load)
        no_batch: Any = None  # only residents get batches, and a program is none
        return Plugin(program.run, no_batch, None, load, is_async=False)
    sys.path[:] = load["sys_path"]
    if load["packages"]:
        os.environ["PYTHONPATH"] = os.pathsep.join(load["packages"])  # for what it starts itself
    if load["folder"]:
        sys.path.insert(0, load["folder"])
    if load["package"]:
        one_package.show(load["package"], load["path"])
    module_name, _, qualname = load["entry"].rpartition(":")
    if module_name:
        module = __import__(module_name, fromlist=["*"])
    else:
        module = load_file(load["path"], source, load["name"])
    found = find_entry(module, qualname, load["tools"])
    beside = module if isinstance(found, Function) else found
    warm_up = getattr(beside, "warm_up", None)
    run_batch = getattr(beside, "run_batch", None)
    if load["batch"] > 1 and not callable(run_batch):
        message = (
            f"the manifest says batch = {load['batch']}; define run_batch(payloads) beside run"
        )
        raise AttributeError(message)
    run: Any = getattr(found, "run", None)
    if load["tools"]:
        run, is_async = tools.serving(found, load["tools"], run)
    else:
        is_async = is_coroutine(run)
        load["run_stands_at"] = standing_at(run)
        run = with_context(run)
    return Plugin(
        run,
        with_context(run_batch) if callable(run_batch) else run,
        warm_up if callable(warm_up) else None,
        load,
        is_async=is_async,
    )


class Function:
    """Gives a function that a manifest names the shape of every other plugin."""

    def __init__(self, run: Callable[..., object]) -> None:
        self.run = run


class Source:
    """Shows a plugin's source to tracebacks, where the file cannot be opened from here."""

    def __init__(self, source: bytes) -> None:
        self._source = source

    def get_source(self, _name: str) -> str:
        """Return the text as it was loaded."""
        return self._source.decode("utf-8", "replace")


def load_file(path: str, source: bytes, name: str) -> types.ModuleType:
    """Run a single-file plugin's source as a module that classes and pickles can find again."""
    module = type(sys)("plugin_" + name.replace("-", "_"))
    module.__file__ = path
    module.__loader__ = Source(source)  # type: ignore[assignment]  # all that tracebacks ask for
    sys.modules[module.__name__] = module
    children.be_main(module, source)
    exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    children.know_by_main(module)
    return module


def find_entry(module: types.ModuleType, qualname: str, its_tools: Sequence[str]) -> Any:
    """Return an object with ``run``: the module's own, its ``Plugin()``, or the named one.

    Of a plugin of several tools: the object whose functions serve them.
    """
    if not qualname:
        if callable(getattr(module, "run", None)) or tools.serves_any(module, its_tools):
            return module
        if not hasattr(module, "Plugin"):
            message = f"{module.__file__} defines neither run(payload) nor a class Plugin"
            raise AttributeError(message + mistakes.instead_of_run(module))
        qualname = "Plugin"
    around: Any = module
    found: Any = module
    for part in qualname.split("."):
        around, found = found, getattr(found, part)
    if isinstance(found, type):
        found = found()
    if its_tools and tools.serves_any(found, its_tools):
        return found
    if its_tools and tools.serves_any(around, its_tools):
        return around
    if callable(getattr(found, "run", None)):
        return found
    if callable(found):
        return Function(found)
    message = f"{qualname} has no run(payload) and cannot be called"
    raise TypeError(message)


def set_cpu_limit(cpu_seconds: float, *, again: bool = False) -> None:
    """Bound this process's own processor time from here on, a second behind the watchdog.

    ``again``: for one call more than those that it has been bounded for.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if soft == resource.RLIM_INFINITY:
        return  # this box has no rlimits
    wanted = int(time.process_time() + cpu_seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (wanted if again else min(soft, wanted), hard))
