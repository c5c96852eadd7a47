"""text-stats: counts in many scripts, and in linear time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plugins.bundled.conftest import Refuse
from toolrunner import ToolRunner


def test_text_stats_measures_its_own_example(tool_runner: ToolRunner) -> None:
    """The example of the manifest's schema is a good payload, with known answers."""
    manifest = tool_runner.registry.plugin("text-stats").manifest
    assert manifest.input_schema is not None
    result, error = tool_runner.run("text-stats", manifest.input_schema["examples"][0])
    assert error is None
    assert result is not None
    assert (result["characters"], result["words"], result["unique_words"]) == (65, 16, 10)
    assert (result["sentences"], result["lines"]) == (2, 1)
    assert result["most_common_words"][:2] == [
        {"word": "the", "count": 4},
        {"word": "cat", "count": 2},
    ]
    assert len(result["most_common_words"]) == 3
    # 16 words, 2 sentences, 16 syllables.
    assert result["flesch_reading_ease"] == pytest.approx(206.835 - 1.015 * 8 - 84.6, abs=0.06)


@pytest.mark.parametrize(
    ("text", "words", "sentences"),
    [
        (
            "Mr. Smith met J. R. Tolkien at 3.14 km. \u201cHi!\u201d he said. Then left... and so.",
            16,
            3,
        ),
        ("Don\u2019t e-mail 1,000.50 to the U.S.A. now", 7, 1),
        ("\u6211\u559c\u6b22\u5496\u5561\u3002\u4f60\u5462\uff1f", 7, 2),
        (
            "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u041a\u0430\u043a?",
            3,
            2,
        ),
        ("\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e\u0964", 2, 1),
        ("Heading\n\nBody text here", 4, 2),
        ("cafe\u0301", 1, 1),
        (" \n", 0, 0),
    ],
)
def test_text_stats_counts_words_and_sentences_of_many_scripts(
    tool_runner: ToolRunner, text: str, words: int, sentences: int
) -> None:
    """Abbreviations, decimals, marks, ideographs and other stops are understood."""
    result, error = tool_runner.run("text-stats", {"text": text})
    assert error is None
    assert result is not None
    assert (result["words"], result["sentences"]) == (words, sentences)


def test_text_stats_gives_no_readability_where_none_is_defined(tool_runner: ToolRunner) -> None:
    """Flesch's formula is for English: an empty or a Russian text has no such score."""
    for text in ("", "\u041a\u0430\u043a \u0434\u0435\u043b\u0430?"):
        result, error = tool_runner.run("text-stats", {"text": text})
        assert error is None
        assert result is not None
        assert result["flesch_reading_ease"] is None


@pytest.mark.parametrize("text", [". " * 10 + "." * 400_000 + "x", "a. " * 130_000])
def test_text_stats_takes_linear_time(tool_runner: ToolRunner, text: str) -> None:
    """Runs of stops and of abbreviations do not send it over its limit of processor time."""
    result, error = tool_runner.run("text-stats", {"text": text})
    assert error is None
    assert result is not None


@pytest.mark.parametrize(
    "payload", [{}, {"text": 5}, {"text": "a", "top": 0}, {"text": "a", "more": 1}]
)
def test_text_stats_refuses_what_its_schema_forbids(
    refuse: Refuse, payload: dict[str, Any]
) -> None:
    """The schema of the manifest guards the plugin."""
    assert refuse("text-stats", **payload)
