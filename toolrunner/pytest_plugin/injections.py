"""What is put behind a copy of a plugin, so that it behaves as an injection says."""

INJECTIONS = ("slow", "oom", "crash", "no_network")

# Put behind a copy of the plugin, whose entry it wraps. The worker sees the signature through it.
WRAPPER = """

def _injected(found, name="run"):
    import functools
    import inspect
    import os
    import resource
    import select
    import signal
    import time

    def crash(run):
        @functools.wraps(run)
        def crashing(*arguments, **named):
            run(*arguments, **named)
            os.kill(os.getpid(), signal.SIGSEGV)

        return crashing

    def slow(run):
        @functools.wraps(run)
        def braked(*arguments, **named):
            brake = start_brake(os.getpid())
            try:
                return run(*arguments, **named)
            finally:
                os.close(brake)

        return braked

    def oom(run):
        @functools.wraps(run)
        def starved(*arguments, **named):
            soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
            # Not 0, for which the kernel takes the hard limit, as a favour to Valgrind.
            resource.setrlimit(resource.RLIMIT_DATA, (1, hard))
            try:
                return run(*arguments, **named)
            finally:
                resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))

        return starved

    def start_brake(runner):
        source, sink = os.pipe()
        between = os.fork()
        if between == 0:
            # An orphan brakes: a plugin may wait until it has no children left.
            if os.fork():
                os._exit(0)
            os.close(sink)
            is_over = False
            try:
                # It ends right after SIGCONT, and is never killed: nobody else would send one.
                while not is_over:
                    os.kill(runner, signal.SIGSTOP)
                    time.sleep(0.009)
                    os.kill(runner, signal.SIGCONT)
                    is_over = bool(select.select([source], [], [], 0.001)[0])
            finally:
                os._exit(0)
        os.waitpid(between, 0)
        os.close(source)
        return sink

    def wrapped(run):
        for injection in ({injections},):
            run = injection(run)
        return run

    if not isinstance(found, type) and not callable(getattr(found, name, None)):
        return wrapped(found)
    kind = type(inspect.getattr_static(found, name))
    run = wrapped(getattr(found, name))
    setattr(found, name, staticmethod(run) if kind in (staticmethod, classmethod) else run)
    return found
"""
WRAP_FILE = """

if callable(globals().get("run")):
    run = _injected(run)
elif "Plugin" in globals():
    Plugin = _injected(Plugin)
"""
WRAP_ENTRY = """

{name} = _injected({name})
"""
# The first of these that there is serves the tool; {owner} is the class that may have them.
WRAP_TOOL = """

for _name in ("run_tool", {function!r}, "run"):
    if callable(globals().get(_name)):
        globals()[_name] = _injected(globals()[_name])
        break
    if callable(getattr(globals().get({owner!r}), _name, None)):
        globals()[{owner!r}] = _injected(globals()[{owner!r}], _name)
        break
"""
