"""Works among folders of the same names as Toolrunner's packages."""


def test_it_counts(governed):
    assert governed("plugins/count.py", {"a": 1}).unwrap() == {"count": 1}


def test_it_crashes(governed):
    assert governed("plugins/count.py", {"a": 1}, inject="crash").error_type == "PluginCrashed"
