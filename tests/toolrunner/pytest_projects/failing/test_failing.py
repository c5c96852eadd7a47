"""Tests that fail: what an author reads then."""


def test_a_result_was_expected(governed):
    governed("word_count.py", {"words": "none"}).unwrap()


def test_another_result_was_expected(governed):
    assert governed("word_count.py", {"text": "one two"}).result == {"words": 3}


def test_it_was_meant_to_survive(governed):
    assert governed("word_count.py", {"text": ""}, inject="crash").ok
