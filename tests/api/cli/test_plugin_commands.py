"""``toolrunner plugins``: list, show, check and new."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.conftest import Cli
from tests.conftest import WritePlugin

GOOD = "def run(payload):\n    return {'fine': True}\n"


def test_plugins_lists_also_what_cannot_run(cli: Cli, write_plugin: WritePlugin) -> None:
    """A broken plugin is listed with its reason, and does not fail the listing."""
    path = write_plugin(GOOD, memory="512")
    ended = cli("--plugins", path, "plugins")
    assert ended.status == 0
    assert "UNAVAILABLE" in ended.out
    [listed] = cli("--plugins", path, "plugins", "--json").documents
    assert "unknown key" in next(s["reason"] for s in listed if s["name"] == "sample")
    states = {status["name"]: status["state"] for status in listed}
    assert (states["sample"], states["palette"]) == ("UNAVAILABLE", "LOADED")


def test_show_has_the_limits_after_the_caps(cli: Cli, write_plugin: WritePlugin) -> None:
    """What the operator caps is shown with what was asked for."""
    path = write_plugin(GOOD, limits="{ memory_mb = 900 }", network="true")
    [shown] = cli(
        "--plugins", path, "plugins", "show", "sample", "--json", TOOLRUNNER_CAPS='{"memory_mb":64}'
    ).documents
    assert shown["limits"]["memory_mb"] == 64
    assert shown["start"]["mode"] == "failed"  # it asks for what it may not have
    assert "not allowed" in shown["network"]
    assert shown["path"] == str(path)
    people = cli(
        "--plugins", path, "plugins", "show", "sample", TOOLRUNNER_CAPS='{"memory_mb":64}'
    ).out
    assert "64 (asked for 900; capped)" in people


def test_show_says_how_calls_start_and_why(cli: Cli, write_plugin: WritePlugin) -> None:
    """By loading the plugin, since nothing else can tell."""
    warm = write_plugin(GOOD)
    waits = "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
    cold = write_plugin(waits + GOOD, name="busy")
    broken = write_plugin("import no_such_module\n" + GOOD, name="broken")
    options = ("--plugins", warm, "--plugins", cold, "--plugins", broken, "plugins", "show")
    [shown] = cli(*options, "sample", "--json").documents
    assert shown["start"] == {"mode": "warm", "reasons": []}
    [shown] = cli(*options, "busy", "--json").documents
    assert shown["start"] == {"mode": "cold", "reasons": ["its import starts threads (1)"]}
    assert "could watch later calls" in " ".join(cli(*options, "sample").out.split())
    words = " ".join(cli(*options, "busy").out.split())
    assert "cold: each call loads the plugin anew: its import starts threads (1)" in words
    assert "no_such_module" in " ".join(cli(*options, "broken").out.split())


@pytest.mark.parametrize("start", ["warm", "cold", "resident"])
def test_show_says_why_each_call_is_refused(
    start: str, cli: Cli, write_plugin: WritePlugin
) -> None:
    """However calls would start, a plugin that may not run here is none that is only loaded."""
    path = write_plugin(GOOD, start=f'"{start}"', read='["/etc"]')
    options = ("--plugins", path, "plugins", "show", "sample")
    [shown] = cli(*options, "--json", TOOLRUNNER_ALLOW_RESIDENT="*").documents
    assert (shown["state"], shown["start"]["mode"]) == ("UNAVAILABLE", "failed")
    assert "asks to read /etc, which plugins may not see" in shown["reason"]
    assert " ".join(cli(*options).out.split()).count("asks to read /etc") == 1


def test_show_tells_of_residents(cli: Cli, write_plugin: WritePlugin) -> None:
    """Loading the plugin has made one: how old it is, what it holds, what it has served."""
    options = ("--plugins", write_plugin(GOOD, start='"resident"'), "plugins", "show", "sample")
    [shown] = cli(*options, "--json", TOOLRUNNER_ALLOW_RESIDENT="sample").documents
    assert shown["start"] == {"mode": "resident", "reasons": []}
    residents = shown["residents"]
    assert (residents["processes"], residents["calls"], residents["replaced"]) == (1, 0, {})
    assert residents["memory_bytes"] > 0
    people = cli(*options, TOOLRUNNER_ALLOW_RESIDENT="sample").out
    assert "1 now" in people
    assert "0 calls served" in " ".join(people.split())
    [shown] = cli(*options, "--json").documents
    assert shown["start"]["mode"] == "cold"
    assert "residents" not in shown


def test_show_tells_of_batches_and_threads(cli: Cli, write_plugin: WritePlugin) -> None:
    """What was asked for, what the operator's caps leave of it, and where it does not apply."""
    body = f"{GOOD}\ndef run_batch(payloads):\n    return [{{}} for _ in payloads]\n"
    path = write_plugin(body, start='"resident"', batch="16", batch_ms="5")
    options = ("--plugins", path, "plugins", "show", "sample")
    allowed = {"TOOLRUNNER_ALLOW_RESIDENT": "sample"}
    [shown] = cli(*options, "--json", **allowed, TOOLRUNNER_THREADS_PER_CALL="3").documents
    assert shown["batch"] == {"asked": 16, "most": 16, "max_batch": 64, "wait_ms": 5}
    assert shown["threads_per_call"] == 3
    people = cli(*options, **allowed, TOOLRUNNER_MAX_BATCH="4", TOOLRUNNER_THREADS_PER_CALL="3").out
    words = " ".join(people.split())
    assert "up to 4 calls of one caller together (16 were asked for; max_batch caps them)" in words
    assert "for which a call waits up to 5 ms" in words
    assert "3 of each numeric library" in words
    off = " ".join(cli(*options, **allowed, TOOLRUNNER_MAX_BATCH="1").out.split())
    assert "max_batch = 1 turns batches off" in off
    assert "do not start resident" in " ".join(cli(*options).out.split())
    [shown] = cli("plugins", "show", "palette", "--json").documents
    assert shown["batch"] is None


def test_show_of_a_broken_plugin_has_its_reason(cli: Cli, write_plugin: WritePlugin) -> None:
    """A plugin that cannot run can still be looked at."""
    ended = cli("--plugins", write_plugin(GOOD, memory="1"), "plugins", "show", "sample")
    assert ended.status == 0
    assert "unknown key" in ended.out


def test_show_of_an_unknown_plugin_is_the_callers_fault(cli: Cli) -> None:
    """An unknown name has the same error as a call would have."""
    ended = cli("plugins", "show", "palete", "--json")
    assert (ended.status, ended.error["type"]) == (2, "PluginNotFound")
    assert "did you mean palette?" in ended.error["message"]


@pytest.mark.parametrize("is_json", [False, True])
def test_a_new_plugin_passes_its_check_and_runs(cli: Cli, png: Path, *, is_json: bool) -> None:
    """What ``new`` writes is a plugin that checks and answers at once, untouched."""
    flags = ["--json-input"] if is_json else []
    made = cli("plugins", "new", "my-first", "--dir", "mine", *flags)
    assert made.status == 0
    assert made.out.strip() == "mine/my_first.py"
    assert "toolrunner plugins check" in made.err
    checked = cli("plugins", "check", "mine/my_first.py", "--json")
    [report] = checked.documents
    assert (checked.status, report["ok"]) == (0, True)
    assert [step["name"] for step in report["steps"]][-2:] == ["runs", "returns"]
    if is_json:
        payload = '{"numbers": [3, 4, 4, 5, 40]}'
        ended = cli("--plugins", "mine", "run", "my-first", "--payload", payload, "--json")
        assert ended.documents[0]["result"]["outliers"] == [40]
        short = cli("--plugins", "mine", "run", "my-first", "--payload", '{"numbers": [1]}')
        assert short.status == 2
    else:
        ended = cli("--plugins", "mine", "analyze", "my-first", png, "--json")
        assert ended.documents[0]["result"]["width"] == 32


def test_new_never_overwrites(cli: Cli, tmp_path: Path) -> None:
    """A file that is there stays as it is."""
    (tmp_path / "mine.py").write_text("precious")
    ended = cli("plugins", "new", "mine")
    assert (ended.status, ended.out) == (2, "")
    assert "exists already" in ended.err
    assert (tmp_path / "mine.py").read_text() == "precious"


@pytest.mark.parametrize("name", ["barcode", "sample"])
def test_new_refuses_the_name_of_another_plugin(
    name: str, cli: Cli, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """Of a bundled one, or of one that was given: neither of them would run."""
    path = write_plugin("def run(payload):\n    return {}\n")
    ended = cli("--plugins", path, "plugins", "new", name, "--dir", "mine")
    whose = "bundled" if name == "barcode" else str(path)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == (
        f"toolrunner: there is a plugin {name} already ({whose}), and of two of one name neither "
        f"runs; choose another name, such as my-{name}\n"
    )
    assert not (tmp_path / "mine").exists()
    off = cli("plugins", "new", name, "--dir", "mine", TOOLRUNNER_DISABLE_BUNDLED="barcode")
    assert off.status == 0


def test_new_refuses_a_name_that_is_none(cli: Cli, tmp_path: Path) -> None:
    """A name that no manifest may have is refused with one that could be."""
    ended = cli("plugins", "new", "My Plugin")
    assert ended.status == 2
    assert "my-plugin" in ended.err
    assert list(tmp_path.glob("*.py")) == []


@pytest.mark.parametrize(
    ("body", "step", "error_type"),
    [
        ("raise ImportError('no')", "loads", "PluginLoadError"),
        ("run = 3", "loads", "PluginLoadError"),
        ("def run(payload):\n    return 1 / 0", "runs", "ExecutionError"),
        ("def run(payload):\n    return None", "returns", "OutputValidationError"),
        ("import os\ndef run(payload):\n    os._exit(3)", "runs", "PluginCrashed"),
    ],
)
def test_check_names_the_step_that_failed(
    cli: Cli, write_plugin: WritePlugin, body: str, step: str, error_type: str
) -> None:
    """Each way to fail is met at its own step, with what to do."""
    path = write_plugin(body)
    ended = cli("plugins", "check", path, "--json")
    [report] = ended.documents
    failed = [found["name"] for found in report["steps"] if not found["ok"]]
    assert (ended.status, failed) == (1, [step])
    assert report["error"]["type"] == error_type
    people = cli("plugins", "check", path)
    assert people.status == 1
    assert f"✗ {step}" in people.out
    assert "what to do:" in people.out


def test_check_of_a_broken_manifest_fails(cli: Cli, write_plugin: WritePlugin) -> None:
    """A wrong key is the plugin's fault, with its line."""
    ended = cli("plugins", "check", write_plugin(GOOD, memory="1"))
    assert ended.status == 1
    assert "✗ manifest" in ended.out
    assert "sample.py:9" in ended.out


def test_check_takes_invalid_input_as_an_answer(cli: Cli, write_plugin: WritePlugin) -> None:
    """A plugin may refuse the sample: it loads, runs and answers, and a note says so."""
    body = """
    class InvalidInput(Exception):
        pass
    def run(payload):
        raise InvalidInput("only portraits")
    """
    ended = cli("plugins", "check", write_plugin(body, input="image"), "--json")
    [report] = ended.documents
    assert (ended.status, report["ok"]) == (0, True)
    assert "only portraits" in report["notes"][0]


def test_check_wants_an_example_that_fits(cli: Cli, write_plugin: WritePlugin) -> None:
    """Without an example that fits its own schema a JSON plugin cannot be tried."""
    schema = '{ type = "object", required = ["a"] }'
    ended = cli("plugins", "check", write_plugin(GOOD, input_schema=schema))
    assert ended.status == 1
    assert "examples" in ended.out


def test_check_says_when_no_sample_can_be_made(cli: Cli, write_plugin: WritePlugin) -> None:
    """A type that nobody can make here is a note, not a failure, if the plugin loads."""
    path = write_plugin(GOOD, input="image", accepts='["image/x-unheard-of"]')
    ended = cli("plugins", "check", path)
    assert ended.status == 0
    assert "image/x-unheard-of" in ended.out


def test_check_fails_for_the_name_of_a_bundled_plugin(
    cli: Cli, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """Neither of them can run; what it advises is enough."""
    path = write_plugin(GOOD, name="palette")
    for words in ((), ("--plugins", path)):
        ended = cli(*words, "plugins", "check", path)
        assert ended.status == 1
        assert "✗ name: palette is taken by a bundled plugin" in ended.out
        assert 'disable_bundled = ["palette"]' in " ".join(ended.out.split())
    assert cli("--plugins", path, "run", "palette").status == 1
    config = tmp_path / "advised.toml"
    config.write_text('disable_bundled = ["palette"]\n')
    advised = {"TOOLRUNNER_CONFIG": str(config)}
    assert cli("plugins", "check", path, **advised).status == 0
    assert cli("--plugins", path, "run", "palette", **advised).status == 0


def test_check_tells_of_a_name_that_another_path_has(
    cli: Cli, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """It may be what is to take its place."""
    path = write_plugin(GOOD)
    other = tmp_path / "other.py"
    other.write_text(path.read_text())
    ended = cli("--plugins", other, "plugins", "check", path)
    assert ended.status == 0
    assert "is taken by" in ended.out


def test_check_looks_at_every_plugin_of_a_folder(cli: Cli, write_plugin: WritePlugin) -> None:
    """A folder is checked one plugin after the other; the worst decides."""
    folder = write_plugin(GOOD, name="good").parent
    write_plugin("def run(payload):\n    raise ValueError\n", name="bad")
    ended = cli("plugins", "check", folder, "--json")
    assert ended.status == 1
    assert {report["plugin"]: report["ok"] for report in ended.documents} == {
        "good": True,
        "bad": False,
    }


@pytest.mark.parametrize("path", ["nowhere.py", "."])
def test_check_of_nothing_is_the_callers_fault(cli: Cli, path: str) -> None:
    """A path without a plugin is no finding about a plugin."""
    ended = cli("plugins", "check", path)
    assert (ended.status, ended.out) == (2, "")


def test_the_advice_about_what_may_be_read_works(
    cli: Cli, write_plugin: WritePlugin, open_folder: Path, tmp_path: Path
) -> None:
    """What the refusal says is set, is listed by `config show`, and then nothing is refused."""
    (open_folder / "models").mkdir(mode=0o755)
    (open_folder / "models" / "text").write_text("here")
    body = f"def run(payload):\n    return {{'text': open('{open_folder}/models/text').read()}}\n"
    path = write_plugin(body, read=f'["{open_folder}/models"]')
    home = {"HOME": str(open_folder)}
    refused = cli("--plugins", path, "run", "sample", "--json", **home)
    assert refused.status == 1
    [document] = refused.documents
    advice = document["error"]["message"].partition("in the settings: ")[2]
    table, _, line = advice.partition(" ")
    config = tmp_path / "advised.toml"
    config.write_text(f"{table}\n{line}\n")
    advised = {**home, "TOOLRUNNER_CONFIG": str(config)}
    assert f"{open_folder}/models" in cli("config", "show", "--json", **advised).out
    done = cli("--plugins", path, "run", "sample", "--json", **advised)
    assert done.documents[0]["result"] == {"text": "here"}


def test_folders_to_read_that_cannot_be_found_are_told(
    cli: Cli, write_plugin: WritePlugin, open_folder: Path
) -> None:
    """By name, before any call: those of the manifest, and those of the settings."""
    body = "def run(payload):\n    return {}\n"
    path = write_plugin(body, read=f'["/srv/modles", "{open_folder}"]')
    granted = {"TOOLRUNNER_PLUGIN": json.dumps({"sample": {"read": ["/srv/grnated"]}})}
    told = [
        f"{path}, which read of {by} names, cannot be found on this host"
        for path, by in (
            ("/srv/grnated", "[plugin.sample] in the settings"),
            ("/srv/modles", "its manifest"),
        )
    ]
    checked = cli("plugins", "check", path, "--json", **granted)
    assert (checked.status, checked.documents[0]["notes"][:2]) == (0, told)
    shown = cli("--plugins", path, "plugins", "show", "sample", "--json", **granted)
    assert shown.documents[0]["absent"] == told
    for_people = cli("--plugins", path, "plugins", "show", "sample", COLUMNS="500", **granted)
    assert "; ".join(told) in for_people.out
    assert "absent" not in cli("--plugins", write_plugin(body), "plugins", "show", "sample").out


def test_disable_takes_no_calls_until_enable(
    cli: Cli, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """For all who have the state folder; the list says so, and an unknown plugin is refused."""
    path, state = write_plugin(GOOD), ("--state", tmp_path / "here")
    run = ("--plugins", path, *state, "run", "sample", "--payload", "{}", "--json")
    ended = cli("--plugins", path, *state, "plugins", "disable", "sample")
    assert (ended.status, ended.out) == (0, "")
    assert "sample is disabled: it takes no calls" in ended.err
    refused = cli(*run)
    assert refused.status == 1
    assert refused.error["type"] == "PluginUnavailable"
    assert refused.error["details"]["suspended_by"] == "operator"
    assert "toolrunner plugins enable sample" in refused.error["message"]
    assert cli("--plugins", path, "--state", tmp_path / "elsewhere", *run[4:]).status == 0

    options = ("--plugins", path, *state, "plugins")
    listed = {one["name"]: one["suspended_by"] for one in cli(*options, "--json").documents[0]}
    assert (listed["sample"], listed["palette"]) == ("operator", "")
    [enabled] = cli(*options, "enable", "sample", "--json").documents
    assert (enabled["name"], enabled["suspended_by"]) == ("sample", "")
    assert cli(*run).documents[0]["result"] == {"fine": True}

    unknown = cli(*options, "disable", "sampel")
    assert unknown.status == 2
    assert "sample" in unknown.err


def test_disable_is_for_all_tools_of_a_plugin(
    cli: Cli, write_plugin: WritePlugin, tmp_path: Path
) -> None:
    """Each is suspended, and each takes calls again."""
    body = "def one(payload): return {}\ndef two(payload): return {}\n"
    path = write_plugin(body, tools="{ one = {}, two = {} }")
    options = ("--plugins", path, "--state", tmp_path / "here", "plugins")
    for command, by in (("disable", "operator"), ("enable", "")):
        switched = cli(*options, command, "sample", "--json").documents
        assert [(one["name"], one["suspended_by"]) for one in switched] == [
            ("sample:one", by),
            ("sample:two", by),
        ]
