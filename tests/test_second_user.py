"""What a second user leaves out is there."""

from __future__ import annotations

from tests.second_user import ROOT, SAME, is_the_firsts


def test_what_is_left_out_exists() -> None:
    """A renamed file would be run twice without anybody's notice."""
    names = [name for group in SAME.values() for name in group]
    for file, _, test in (name.partition("::") for name in names):
        path = ROOT / file
        assert path.exists(), file
        assert not test or f"def {test}(" in path.read_text(), test
    assert len(names) == len(set(names))


def test_each_way_of_isolation_is_some_users() -> None:
    """Of each test one way is one user's, and the other way the other's; which one varies."""
    firsts = []
    for number in range(100):
        for id_ in ("[{}namespaces]", "[{}namespaces-b]", "[a-{}namespaces]", "[a-{}namespaces-b]"):
            name = f"tests/sandbox/test_it.py::test_{number}{id_}"
            found = is_the_firsts(name.format(""))
            assert found is not None
            assert is_the_firsts(name.format("no-")) is (not found), name
            firsts.append(found)
    assert 100 < sum(firsts) < 300
    assert is_the_firsts("tests/faults/test_it.py::test_it[namespaces-escape/files-auto]") is None
    assert is_the_firsts("tests/faults/test_it.py::test_namespaces[a]") is None
