"""Plugins of every shape under injections, and what is no outcome but a mistake."""

from pathlib import Path

import pytest

SHAPES = ["assigned.py", "static.py", "of_the_class.py", "instance"]


@pytest.mark.parametrize("plugin", SHAPES)
def test_every_shape_can_be_injected(governed, plugin):
    assert governed(plugin, inject="slow").unwrap() == {"answer": 42}
    assert governed(plugin, inject="crash").error_type == "PluginCrashed"


def test_no_lock_counts(governed):
    """What it pins is in no environment here."""
    here = Path(__file__).parent
    (here / "static.py.lock").write_text("version = 1")
    (here / "instance/requirements.txt").write_text("packaging")
    assert governed("static.py").ok
    assert governed("instance").ok


def test_injections_add_up(governed):
    """In whichever order they are named."""
    assert governed("children.py", inject=["crash", "slow"]).error_type == "PluginCrashed"
    assert governed("thrifty.py", inject=["slow", "oom"]).unwrap() == {"table": 0}


def test_an_image_in_a_file(governed):
    """Its type is told by its content, whatever its name says."""
    assert governed("image-info", {"image": Path("grey.png")}).unwrap()["width"] == 2
    here = Path(__file__).parent
    (here / "text.png").write_text("hello")
    assert governed("image-info", {"image": Path("text.png")}).error_type == "ValidationError"


def test_a_path_where_none_is_taken(governed):
    with pytest.raises(TypeError, match='a Path stand in "image" or in "files" alone'):
        governed("image-info", {"img": Path("grey.png")})


def test_nothing_of_an_injection_is_the_plugins_child(governed):
    assert governed("children.py", inject="slow").unwrap() == {"children": 1}


def test_memory_is_short_for_small_plugins_too(governed):
    assert governed("thrifty.py").unwrap() == {"table": 4 << 20}
    assert governed("thrifty.py", inject="oom").unwrap() == {"table": 0}


def test_a_limit_wins_over_the_environment(governed, monkeypatch):
    monkeypatch.setenv("TOOLRUNNER_CAPS__PAYLOAD_MB", "50")
    payload = {"text": "a" * (2 << 20)}
    assert governed("assigned.py", payload).ok
    assert governed("assigned.py", payload, limits={"payload_mb": 1}).error_type == "ValidationError"


def test_the_same_plugin_in_the_environment_is_not_in_the_way(governed, monkeypatch):
    monkeypatch.setenv("TOOLRUNNER_PLUGINS", str(Path(__file__).parent / "assigned.py"))
    assert governed("assigned.py", inject="crash").error_type == "PluginCrashed"


@pytest.mark.parametrize(
    ("plugin", "limits", "words"),
    [
        ("misspelt.py", {}, "unknown key; did you mean network"),
        ("text-stat", {}, "did you mean 'text-stats'"),
        ("demanding.py", {}, "SandboxError.*toolrunner doctor"),
        ("assigned.py", {"memory_mb": -1}, r"^toolrunner could not run assigned:\ntoolrunner: .*"),
    ],
)
def test_what_never_ran_fails_the_test(governed, plugin, limits, words):
    with pytest.raises(pytest.fail.Exception, match=words):
        governed(plugin, limits=limits)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"memory": 1}, r"^there is no limit 'memory'; did you mean 'memory_mb'\? There are wall_sec"),
        ({"x": 1}, "^there is no limit 'x'; use wall_seconds, .*, log_kb$"),
        ({"memory_mb": "64"}, "^the limit memory_mb is a number; this is a str$"),
    ],
)
def test_what_is_no_limit_is_told_with_those_there_are(governed, limits, words):
    """And the traceback has the test's own line alone."""
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        governed("assigned.py", limits=limits)
    assert [str(one.path) for one in caught.traceback.filter(caught)] == [__file__]


def test_a_folder_without_a_manifest_is_named(governed):
    with pytest.raises(ValueError, match=r"empty has no manifest; `toolrunner plugins check"):
        governed("empty")


@pytest.mark.parametrize(
    ("plugin", "result"),
    [
        ("tools.py:by-function", {"by": "by_function"}),
        ("tools.py:other", {"by": "run", "tool": "other"}),
        ("tools_of_a_class.py:one", {"tool": "one"}),
    ],
)
def test_a_tool_is_tested_by_its_name(governed, plugin, result):
    assert governed(plugin).unwrap() == result
    assert governed(plugin, inject="crash").error_type == "PluginCrashed"
