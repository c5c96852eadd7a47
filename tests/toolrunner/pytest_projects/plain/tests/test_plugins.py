"""What an author tests: the plugin itself, and what comes of it when the host is short of things."""

import sys

import pytest

TEXT = {"text": "one two three"}


def test_it_counts(governed):
    outcome = governed("word_count.py", TEXT)
    assert outcome.unwrap() == {"words": 3, "complete": True, "memory": 0}
    assert outcome.ok
    assert outcome.error_type is None
    assert outcome.usage["wall_ms"] >= 0
    assert outcome.isolation["layers"]


def test_a_bad_payload_is_the_callers_fault(governed):
    outcome = governed("word_count.py", {"text": 7})
    assert outcome.error["details"]["blame"] == "plugin"  # it should have checked
    assert outcome.error_type == "ExecutionError"


def test_a_lower_limit(governed):
    outcome = governed("word_count.py", {**TEXT, "megabytes": 200}, limits={"memory_mb": 64})
    assert outcome.error_type == "MemoryLimitExceeded"
    assert outcome.is_a_limit


def test_oom(governed):
    payload = {**TEXT, "megabytes": 60}
    assert governed("word_count.py", payload).ok
    assert governed("word_count.py", payload, inject="oom").error_type == "MemoryLimitExceeded"


def test_crash(governed):
    outcome = governed("word_count.py", TEXT, inject="crash")
    assert (outcome.error_type, outcome.error["details"]["signal"]) == ("PluginCrashed", "SIGSEGV")
    assert governed("word_count.py", TEXT).ok


def test_slow(governed):
    """What it does in time without hurry, it gives up in time when the host is slow."""
    payload = {"text": "word " * 100, "effort": 0.01, "spare_seconds": 25.5}
    assert governed("word_count.py", payload).unwrap()["complete"]
    assert not governed("word_count.py", payload, inject="slow").unwrap()["complete"]


def test_no_network(governed):
    assert governed("fetch.py").unwrap() == {"from": "network"}
    assert governed("fetch.py", inject="no_network").unwrap() == {"from": "fallback"}


def test_injections_together(governed):
    assert governed("fetch.py", inject=["no_network", "crash"]).error_type == "PluginCrashed"


@pytest.mark.parametrize("inject", [(), "slow"])
def test_a_folder_with_an_image(governed, inject):
    payload = {"image": b"\x89PNG\r\n\x1a\n" + bytes(100), "mime_type": "image/png"}
    assert governed("shades", payload, inject=inject).unwrap() == {
        "bytes": 108,
        "type": "image/png",
    }


def test_a_folder_crashes(governed):
    payload = {"image": b"\x89PNG\r\n\x1a\n", "mime_type": "image/png"}
    assert governed("shades", payload, inject="crash").error_type == "PluginCrashed"


def test_a_plugin_by_its_name(governed):
    assert governed("text-stats", {"text": "one two"}).unwrap()["words"] == 2


def test_nothing_of_toolrunner_is_imported(governed):
    governed("word_count.py", TEXT)
    assert {"runner", "sandbox", "plugins", "api"} & set(sys.modules) == set()


@pytest.mark.parametrize(
    ("arguments", "named", "words"),
    [
        (("gone.py",), {}, "there is no plugin at"),
        (("pytest.ini",), {}, "has no manifest"),
        (("word_count.py",), {"inject": "fire"}, "use slow, oom, crash, no_network"),
        (("text-stats",), {"inject": "crash"}, "give the path"),
    ],
)
def test_mistakes_are_explained(governed, arguments, named, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        governed(*arguments, **named)
