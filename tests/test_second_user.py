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


def test_no_test_of_the_corpus_is_left_out_by_both_users() -> None:
    """Those that call it as a plugin's calls start by themselves are both users'."""
    corpus = "tests/faults/test_corpus.py::test_a_fault_harms_nobody"
    assert is_the_firsts(f"{corpus}[namespaces-escape/files-auto]") is None
    assert is_the_firsts(f"{corpus}[no-namespaces-escape/files-auto]") is None
    assert is_the_firsts(f"{corpus}[no-namespaces-resources/huge_file-auto]") is False
    assert is_the_firsts(f"{corpus}[namespaces-escape/files-cold]")
    assert is_the_firsts(f"{corpus}[no-namespaces-escape/files-cold]") is False
    resident = "tests/faults/test_corpus.py::test_a_fault_harms_no_later_call_of_a_resident"
    assert is_the_firsts(f"{resident}[namespaces-escape/files]")
    assert is_the_firsts(f"{resident}[no-namespaces-escape/files]") is False
    assert is_the_firsts("tests/faults/test_corpus.py::test_variants_of_the_table_exist") is None
