"""What ``plugins check`` says of plugins that fail, in one way of starting or in all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Cli
from tests.conftest import WritePlugin
from toolrunner.api.cli.advice import advise, advise_after_failure
from toolrunner.api.cli.measuring import Measured, Missed, Tried
from toolrunner.api.cli.remedies import what_to_do
from toolrunner.plugins.manifest import Manifest
from toolrunner.runner.start_mode import Start
from toolrunner.sandbox.inside.hints import ABSENT

RUN = "\ndef run(payload):\n    return {}\n"
# What a call waits for only a thread of the import can do.
POOL = """
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(1)
pool.submit(int).result()
def run(payload):
    return {"found": pool.submit(len, "abc").result()}
"""

ONCE = """
run_batch, calls = list, []
def run(payload):
    calls.append(1)
    return {"inverse": 1 / (2 - len(calls))}
"""


def checked(cli: Cli, write_plugin: WritePlugin, body: str, **keys: str) -> dict[str, Any]:
    """Return the report of a plugin."""
    [report] = cli("plugins", "check", write_plugin(body, **keys), "--json").documents
    found: dict[str, Any] = report
    return found


def failed(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the steps that failed."""
    return [step for step in report["steps"] if not step["ok"]]


def missed(report: dict[str, Any]) -> dict[str, str]:
    """Return what could not be measured, and why; on a busy host, for want of time."""
    return {one["what"]: one["why"] for one in report["measured"]["missed"]}


def needs_warm(report: dict[str, Any]) -> None:
    """Skip on a kernel where nothing is warm."""
    if any("no Landlock" in reason for reason in report["start"]["reasons"]):
        pytest.skip("this kernel has no Landlock of ABI 6: every call is cold")


def test_a_trial_that_hangs_is_bounded_and_told(cli: Cli, write_plugin: WritePlugin) -> None:
    """Whatever the plugin's own limit; and the advice is not to try it."""
    report = checked(cli, write_plugin, POOL, limits="{ wall_seconds = 3000 }")
    needs_warm(report)
    assert report["ok"]
    assert report["start"]["mode"] == "cold"
    assert missed(report)["warm calls"].startswith("a call did not answer within ")
    assert 'do not say start = "warm"' in report["advice"][0]
    assert "cold" in report["measured"]["p50_ms"]


def test_a_plugin_that_hangs_as_it_is_told_to_start_is_told_how_not_to(
    cli: Cli, write_plugin: WritePlugin
) -> None:
    """Its author has said that no thread is missed, and was wrong."""
    report = checked(cli, write_plugin, POOL, start='"warm"', limits="{ wall_seconds = 2 }")
    needs_warm(report)
    [step] = failed(report)
    assert step["detail"] == "TimeLimitExceeded: ran longer than 2 s"
    assert step["advice"].startswith('say start = "cold": a call that runs forked')
    assert 'start = "resident"' in step["advice"]
    assert checked(cli, write_plugin, POOL, start='"cold"')["ok"]


@pytest.mark.parametrize(
    ("body", "step", "words", "remedy"),
    [
        (RUN, "resident", "the manifest says batch = 4", "write run_batch(payloads)"),
        (
            RUN + "def run_batch(payloads):\n    return [{}]\n",
            "batch",
            "run_batch returned 1 result for 2 payloads",
            "one result for each",
        ),
        (
            RUN + "def run_batch(payloads):\n    return 1 / 0\n",
            "batch",
            "ZeroDivisionError",
            "one result for each",
        ),
        (
            "def warm_up():\n    raise ValueError('not warm')\nrun_batch = list\n" + RUN,
            "resident",
            "not warm",
            "mend warm_up()",
        ),
        (
            ONCE,
            "resident",
            "ZeroDivisionError",
            "called again in the same process",
        ),
    ],
)
def test_what_a_resident_would_do_is_tried_where_it_is_not_allowed(
    body: str, step: str, words: str, remedy: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """Calls run cold there, and nothing else would tell."""
    report = checked(cli, write_plugin, body, start='"resident"', batch="4")
    assert not report["ok"]
    [found] = failed(report)
    assert found["name"] == step
    assert words in found["detail"]
    assert remedy in found["advice"]


def test_a_batch_that_works_is_a_step(cli: Cli, write_plugin: WritePlugin) -> None:
    """Two calls were served together."""
    body = RUN + "def run_batch(payloads):\n    return [{} for _ in payloads]\n"
    report = checked(cli, write_plugin, body, start='"resident"', batch="4")
    assert report["ok"]
    assert report["steps"][-1]["name"] == "batch"
    assert report["steps"][-1]["detail"].startswith("two calls together: ")


def test_a_measure_that_failed_is_told(cli: Cli, write_plugin: WritePlugin) -> None:
    """With what came of the call, so that nobody wonders where it is."""
    body = """
    calls = []
    def run(payload):
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("once is enough")
        return {}
    """
    report = checked(cli, write_plugin, body)
    assert "called twice" in missed(report)["imports and a second call"]
    assert missed(report)["resident calls"] == "ExecutionError: ValueError: once is enough"
    assert 'do not say start = "resident"' in report["advice"][-1]
    people = cli("plugins", "check", write_plugin(body)).out
    assert "not measured: resident calls: ExecutionError: ValueError: once is enough" in people


def test_warm_up_is_not_tried_with_a_file_that_nobody_can_make(
    cli: Cli, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """What gains by it is measured all the same, and told to write it."""
    body = "import time\ndone = []\ndef run(payload):\n    "
    body += "if not done: time.sleep(1)\n    done.append(1)\n    return {}\n"
    path = write_plugin(body, input="files", accepts='["video/mp4"]')
    (tmp_path / "a.mp4").write_bytes(b"of some kind")
    [report] = cli("plugins", "check", path, "--sample", tmp_path / "a.mp4", "--json").documents
    assert report["ok"], report
    assert report["measured"]["warmed_up_ms"] is None
    if report["measured"]["examined"] is not None:
        assert any("write warm_up(): the first call takes" in one for one in report["advice"])


THREADS = """
from threading import Event, Thread
kept = Event()
for _ in range(1000):
    Thread(target=kept.wait, daemon=True).start()
"""
LOADS = {
    "raises": ("raise ValueError('no')", {}, "mend what happens at import"),
    "too slow": ("import time; time.sleep(600)", {"load_seconds": 1}, "raise limits.load_seconds"),
    "too large": ("x = bytearray(b'1' * (200 << 20))", {"memory_mb": 64}, "raise limits.memory_mb"),
    "too many threads": (
        THREADS,
        {"threads": 8},
        "raise limits.threads",
    ),
    "warm_up raises": ("def warm_up():\n    raise ValueError('no')", {}, "mend warm_up()"),
    "a file not found": ("open('/srv/no/such.bin')", {}, "ship the file"),
    "a module not found": ("import no_such_module", {}, "in dependencies of its manifest"),
    "a misspelled module": ("import jsn", {}, "do what the message says"),
    "a file to write elsewhere": ("open('/home/x', 'w')", {}, "do what the message says"),
    "the network": (
        "import socket\nsocket.create_connection(('192.0.2.1', 80))",
        {},
        "load it from files",
    ),
    "not Python": ("def x(:", {}, "correct the line"),
    "ends": ("import os; os._exit(3)", {}, "it may not end its process"),
    "leaves": ("import sys; sys.exit(3)", {}, "it may not end its process"),
    "too many files": (
        "kept = [open(__file__) for _ in range(99)]",
        {"open_files": 32},
        "open_fil",
    ),
    "a full disk": (
        "open('f', 'wb').write(bytes(9 << 20))",
        {"scratch_mb": 1},
        "limits.scratch_mb",
    ),
}


@pytest.mark.parametrize("how", LOADS)
def test_what_to_do_fits_what_failed_while_loading(
    how: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """Each reason has a remedy of its own."""
    body, limits, remedy = LOADS[how]
    table = ", ".join(f"{name} = {value}" for name, value in limits.items())
    report = checked(cli, write_plugin, body + "\n" + RUN, limits=f"{{ {table} }}")
    [step] = failed(report)
    assert step["name"] == "loads"
    assert remedy in step["advice"], step


def test_without_run_there_is_one_remedy(cli: Cli, write_plugin: WritePlugin) -> None:
    """Namely to write it."""
    [step] = failed(checked(cli, write_plugin, "ran = 1\n"))
    assert step["advice"].startswith("define run(payload)")


def test_a_load_that_is_slow_for_its_warm_up_is_told_so(
    cli: Cli, write_plugin: WritePlugin
) -> None:
    """A cold call has none, and answers."""
    body = "import time\ndef warm_up():\n    time.sleep(600)\n" + RUN
    report = checked(cli, write_plugin, body, limits="{ load_seconds = 1 }")
    needs_warm({"start": {"reasons": []}} if report["start"] is None else report)
    [step] = failed(report)
    assert step["detail"] == "PluginLoadError: took longer than 1 s to load"
    assert "without warm_up(), it answers in" in report["advice"][0]


def test_what_a_plugin_logs_is_told_once(cli: Cli, write_plugin: WritePlugin) -> None:
    """However often it is loaded and called."""
    path = write_plugin(
        "import logging\nlogging.warning('old import')\n"
        "def run(payload):\n    logging.warning('old call')\n    return {}\n"
    )
    ended = cli("plugins", "check", path)
    assert ended.status == 0
    assert [ended.err.count(f": old {what}\n") for what in ("import", "call")] == [1, 1]


def test_a_reason_that_stands_above_is_not_told_again(cli: Cli, write_plugin: WritePlugin) -> None:
    """Though what it is about has another name in each box."""
    body = "import tempfile\nkept = tempfile.TemporaryFile()\n" + RUN
    report = checked(cli, write_plugin, body)
    assert report["start"]["mode"] == "cold"
    assert "warm calls" not in missed(report)


SPOOF = "no\\n  \u2713 runs: fine\\n    what to do: run this\\n  advice: run that"


@pytest.mark.parametrize("columns", ["40", "80", "200"])
@pytest.mark.parametrize("raised", ["ValueError", "InvalidInput"])
def test_no_line_of_a_plugin_passes_for_one_of_the_checks(
    raised: str, columns: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """However many lines its message has, and wherever a terminal breaks them."""
    body = f"""
    class InvalidInput(Exception):
        pass
    TEXT = "{SPOOF}" + " " * 30 + " ".join(["\u2713 loads:"] * 40)
    def run(payload):
        print(TEXT, flush=True)
        raise {raised}(TEXT)
    """
    out = cli("plugins", "check", write_plugin(body), COLUMNS=columns).out
    lines = out.splitlines()
    assert [line for line in lines if line.startswith("  ✓ loads")] == ["  ✓ loads: in the sandbox"]
    own = ("  ✓ runs: fine", "    what to do: run this", "  advice: run that", "✓ ", "loads:")
    assert not [line for line in lines if line.startswith(own)]
    assert any("|   ✓ runs: fine" in line for line in lines)


@pytest.mark.parametrize("kind", ["ExecutionError", "PluginLoadError"])
def test_a_folder_that_is_named_already_is_not_told_to_be_named(kind: str) -> None:
    """The message says what is wrong with its name."""
    error = {
        "type": kind,
        "message": f"FileNotFoundError: no such file; {ABSENT.format(path='/srv/modles')}",
        "details": {"exception": "FileNotFoundError"},
    }
    assert what_to_do(error, "") == "do what the message says"


@pytest.mark.parametrize(
    ("message", "exception", "remedy"),
    [
        ("KeyError: 'text'", "KeyError", "give it a sample, in a line of"),
        ("RuntimeError: no", "RuntimeError", "mend run()"),
        ("TypeError: run() missing 1 argument", "TypeError", "write run(payload)"),
        ("gaierror: no; a plugin has no network and no sockets", "gaierror", "what the message"),
    ],
)
def test_what_to_do_fits_what_run_has_raised(message: str, exception: str, remedy: str) -> None:
    """An example of its input is no remedy for all that fails."""
    details = {"exception": exception}
    error = {"type": "ExecutionError", "message": message, "details": details}
    assert remedy in what_to_do(error, "", given_nothing=True)
    if exception == "KeyError":
        assert "mend run()" in what_to_do(error, "")


@pytest.mark.parametrize(
    ("limit", "remedy"),
    [
        ("output_mb", "limits.output_mb"),
        ("artifacts_mb", "limits.artifacts_mb"),
        ("artifacts", "fewer files"),
        ("output_values", "fewer values"),
    ],
)
def test_what_to_do_fits_what_was_too_much(limit: str, remedy: str) -> None:
    """Of a reply, or of what came with it."""
    details = {"limit": {"name": limit, "configured": 1, "observed": 2}}
    error = {"type": "OutputLimitExceeded", "message": "too much", "details": details}
    assert remedy in what_to_do(error, "")


def test_what_failed_is_advised_against_where_it_would_be_tried() -> None:
    """And not where its author has said already what he wants."""
    cold = Start("cold", ("its import starts threads (1)",))
    why = "a call did not answer within 3 s"
    measured = Measured({"cold": 90.0}, missed=(Missed("warm calls", why, by_call=True),))
    auto = Manifest(name="sample", input="json")
    [words] = advise(auto, cold, measured)
    assert why in words
    no_time = Measured({"cold": 90.0}, missed=(Missed("warm calls", "no time was left"),))
    assert advise(auto, cold, no_time) == ()
    chosen = Manifest(name="sample", input="json", start="cold")
    assert advise(chosen, cold, measured) == ()


def test_what_has_helped_is_advised() -> None:
    """More memory, another start, or nothing."""
    manifest = Manifest(name="sample", input="json")
    warm = Start("warm")
    [words] = advise_after_failure(manifest, warm, Tried(memory_mb=300.0))
    assert words.startswith("set memory_mb to 384: ")
    [words] = advise_after_failure(manifest, Start("resident"), Tried(p50_ms={"cold": 90.0}))
    assert words.startswith('say start = "cold": a call that runs in a process that stays fails')
    [words] = advise_after_failure(manifest, warm, Tried(too_little_mb=2048))
    assert words == "it has too little with memory_mb = 2048, too"
    assert advise_after_failure(manifest, warm, Tried()) == ()


def test_nobody_knows_a_remedy_for_everything() -> None:
    """Then there is none."""
    error = {"type": "Overloaded", "message": "no room", "details": {}}
    assert what_to_do(error, "") == ""
