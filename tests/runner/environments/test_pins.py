"""Reading what uv has resolved, and the digest that is made of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from toolrunner.runner.environments.pins import PinError, digest_of, parse_pins, unanswered
from toolrunner.runner.environments.pythons import this_python

HASHED = r"""
# made by uv
alpha==1.0 \
    --hash=sha256:aa \
    --hash=sha256:bb
    # via the plugin
Beta_x[extra]==2.1 ; python_version >= "3" --hash=sha256:cc  # a comment
"""


def test_lines_that_are_continued_are_one() -> None:
    """With their hashes, without comments."""
    alpha, beta = parse_pins(HASHED)
    assert (alpha.name, alpha.version, alpha.hashes) == ("alpha", "1.0", ("sha256:aa", "sha256:bb"))
    assert (beta.name, beta.version) == ("beta-x", "2.1")


@pytest.mark.parametrize("text", ["alpha>=1", "-r other.txt", "--index-url x", "./a.whl", "@@@"])
def test_what_pins_nothing_is_refused(text: str) -> None:
    """As are options: what they lead to is not in the text."""
    with pytest.raises(PinError):
        parse_pins(f"beta==1\n{text}\n")


def test_a_digest_is_of_what_is_pinned() -> None:
    """In whatever order; another hash, version, interpreter or builder makes another one."""
    python = this_python()
    one = digest_of(parse_pins(HASHED), python)
    assert one == digest_of(reversed(parse_pins(HASHED)), python)
    others = [
        digest_of(parse_pins(HASHED.replace("sha256:aa", "sha256:ab")), python),
        digest_of(parse_pins(HASHED.replace("==1.0", "==1.1")), python),
        digest_of(parse_pins(HASHED), replace(python, version="3.99.0")),
        digest_of(parse_pins(HASHED), replace(python, abi="other")),
        digest_of(parse_pins(HASHED), python, builder="one plugin's wish"),
        digest_of(parse_pins(HASHED), python, builder="another's"),
    ]
    assert len({one, *others}) == len(others) + 1


def test_what_pins_do_not_answer_is_told() -> None:
    """By name and version; what is not for this interpreter does not matter."""
    python, pins = this_python(), parse_pins(HASHED)
    assert unanswered(pins, ["alpha>=1", "beta.x", "gone; python_version < '3'"], python) == ""
    assert unanswered(pins, ["gamma"], python) == "gamma is not in it"
    assert unanswered(pins, ["alpha>=2"], python) == "alpha is 1.0 in it, not >=2"
