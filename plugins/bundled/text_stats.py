# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "text-stats"
# version = "1.0.0"
# description = "Counts, most common words, reading time and readability of a text"
# input = "json"
# limits = { wall_seconds = 20, cpu_seconds = 20, memory_mb = 512, processes = 4, payload_mb = 4 }
#
# [tool.toolrunner.input_schema]
# type = "object"
# required = ["text"]
# additionalProperties = false
# examples = [
#     { text = "The cat sat on the mat. The dog, who isn't a cat, sat on the log!", top = 3 },
# ]
#
# [tool.toolrunner.input_schema.properties.text]
# type = "string"
# description = "The text, in any language"
#
# [tool.toolrunner.input_schema.properties.top]
# type = "integer"
# minimum = 1
# maximum = 1000
# default = 10
# description = "How many of the most common words to list"
# ///
"""Measure a text in any script: characters, words, sentences, lines, readability.

Words are runs of letters, marks and digits, with apostrophes, hyphens and dots between them kept
("isn't", "well-known", "3.14"); each Chinese ideograph and each hiragana counts as one word, as
Unicode's rules (UAX #29) have it. Scripts without spaces that need a dictionary (Thai, Khmer)
count a run as one word. Characters are code points after NFC.

Reading time: 238 words a minute (Brysbaert 2019), 255 Chinese or hiragana characters a minute
(Trauzettel-Klosinski 2012). Flesch reading ease is defined for English: ``None`` when the text is
empty or mostly not in Latin letters, and an estimate otherwise, as syllables are counted by rule.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import Any

DEFAULT_TOP = 10
MAX_TOP = 1000
WORDS_A_MINUTE = 238
IDEOGRAPHS_A_MINUTE = 255

# Kana iteration marks and the ideographs of all planes: each one a word of its own.
IDEOGRAPH = re.compile(
    "[\u3005-\u3007\u3041-\u3096\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
CHUNK = re.compile(r"\S+")
INSIDE_WORDS = frozenset("'\u2019-\u2010\u2011.,\u00b7")
JOINERS = frozenset("\u200c\u200d\u00ad")
# A sentence ends at a run of stops before a space, at an Asian full stop, or at an empty line. The
# look-behind and the possessive `++` keep the time linear in runs of a million full stops.
STOPS = ".!?\u2026\u061f\u06d4\u0964\u0965\u1362"
CLOSING = "\"'\u2019\u201d\u00bb)]"
SENTENCE_END = re.compile(
    rf"""(?<![{STOPS}])[{STOPS}]++[{re.escape(CLOSING)}]*+(?=\s++(?P<next>\S)|\s*+$)"""
    r"""|[\u3002\uff01\uff1f]++["\u300d\u300f\u201d]*+"""
    r"""|\n[^\S\n]*+\n\s*+"""
)
ABBREVIATION = re.compile(
    r"mr|mrs|ms|dr|prof|st|sr|jr|vs|etc|e\.g|i\.e|cf|al|no|fig|vol|ed|approx|inc|ltd|co|dept",
    re.IGNORECASE,
)
LAST_WORD = re.compile(r"(?:\w+\.)*\w+$")
LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
VOWELS = re.compile(r"[aeiouy]+")


class InvalidInput(Exception):
    """The caller's payload is not what this plugin takes."""


def run(payload: dict[str, Any]) -> dict[str, Any]:
    """Return the measures of ``payload["text"]``."""
    text, top = _checked(payload)
    words = tokens(text)
    sentences = count_sentences(text)
    counts = Counter(word.casefold().replace("\u2019", "'") for word in words)
    # Equal counts in alphabetical order, so that the same text always gives the same list.
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {
        "characters": len(text),
        "characters_without_spaces": sum(map(len, text.split())),
        "words": len(words),
        "unique_words": len(counts),
        "sentences": sentences,
        "lines": len(text.splitlines()),
        "average_word_length": _ratio(sum(map(len, words)), len(words)),
        "average_sentence_words": _ratio(len(words), sentences),
        "most_common_words": [{"word": word, "count": count} for word, count in ranked[:top]],
        "reading_time_seconds": _reading_seconds(words),
        "flesch_reading_ease": flesch_reading_ease(words, sentences),
    }


def _checked(payload: dict[str, Any]) -> tuple[str, int]:
    text, top = payload.get("text"), payload.get("top", DEFAULT_TOP)
    if not isinstance(text, str):
        msg = "`text` must be a string"
        raise InvalidInput(msg)
    # JSON Schema takes 3.0 for an integer.
    if isinstance(top, bool) or top != int(top) or not 1 <= top <= MAX_TOP:
        msg = f"`top` must be a whole number from 1 to {MAX_TOP}"
        raise InvalidInput(msg)
    return unicodedata.normalize("NFC", text), int(top)


def _ratio(total: int, count: int) -> float | None:
    return round(total / count, 2) if count else None


def tokens(text: str) -> list[str]:
    """Return the words of the text in order, as written."""
    words: list[str] = []
    for match in CHUNK.finditer(text):
        chunk = match.group()
        if chunk.isascii() and chunk.isalnum():
            words.append(chunk)
        else:
            words.extend(_split(chunk))
    return words


def _split(chunk: str) -> list[str]:
    """Cut what stands between two spaces into words."""
    words: list[str] = []
    start: int | None = None
    for index, character in enumerate(chunk):
        if IDEOGRAPH.match(character):
            if start is not None:
                words.append(chunk[start:index])
            words.append(character)
            start = None
        elif character.isalnum():
            start = index if start is None else start
        elif start is not None and not _continues(chunk, index):
            words.append(chunk[start:index])
            start = None
    if start is not None:
        words.append(chunk[start:])
    return [word.replace("\u00ad", "") for word in words]


def _continues(chunk: str, index: int) -> bool:
    """Tell whether the character at ``index``, neither letter nor digit, belongs to the word."""
    character = chunk[index]
    if unicodedata.category(character).startswith("M") or character in JOINERS:
        return True
    if character not in INSIDE_WORDS or index + 1 == len(chunk):
        return False
    before, after = chunk[index - 1], chunk[index + 1]
    if character == ",":
        return before.isdigit() and after.isdigit()
    return after.isalnum() and not IDEOGRAPH.match(after)


def count_sentences(text: str) -> int:
    """Count the stretches between sentence ends that hold at least one letter or digit."""
    count, start = 0, 0
    for match in SENTENCE_END.finditer(text):
        if _goes_on(text[max(start, match.start() - 24) : match.start()], match):
            continue
        count += any(map(str.isalnum, text[start : match.start()]))
        start = match.end()
    return count + any(map(str.isalnum, text[start:]))


def _goes_on(before: str, end: re.Match[str]) -> bool:
    """Tell whether a stop belongs to a shortened word, an initial or speech in mid-sentence."""
    following, stops = end.group("next"), end.group()
    if following is None:
        return False
    if following.islower() and (stops.startswith(".") or stops[-1] in CLOSING):
        return True
    last = LAST_WORD.search(before)
    if last is None or stops != ".":
        return False
    word = last.group()
    is_initial = len(word) == 1 and word.isupper() and word != "I"
    return is_initial or ABBREVIATION.fullmatch(word) is not None


def _reading_seconds(words: list[str]) -> int:
    ideographs = sum(1 for word in words if IDEOGRAPH.match(word))
    minutes = (len(words) - ideographs) / WORDS_A_MINUTE + ideographs / IDEOGRAPHS_A_MINUTE
    return round(minutes * 60)


def flesch_reading_ease(words: list[str], sentences: int) -> float | None:
    """Return 206.835 - 1.015 words/sentence - 84.6 syllables/word; higher is easier."""
    latin = [word for word in words if LATIN.search(word)]
    letters = sum(1 for word in words if any(map(str.isalpha, word)))
    if not latin or not sentences or 2 * len(latin) < letters:
        return None
    per_sentence = len(words) / sentences
    per_word = sum(map(count_syllables, latin)) / len(latin)
    return round(206.835 - 1.015 * per_sentence - 84.6 * per_word, 1)


def count_syllables(word: str) -> int:
    """Estimate the syllables of an English word from its groups of vowels; at least one."""
    plain = "".join(c for c in unicodedata.normalize("NFD", word.lower()) if "a" <= c <= "z")
    groups = len(VOWELS.findall(plain))
    if _has_silent_ending(plain):
        groups -= 1
    return max(groups, 1)


def _has_silent_ending(word: str) -> bool:
    """Tell whether the last "e", "es" or "ed" is not spoken: make, makes, baked; not table."""
    if word.endswith("e"):
        return not re.search(r"[^aeiouy]le$|[aeiouy]e$", word)
    if word.endswith("es"):
        return not re.search(r"(?:[sxzcg]|ch|sh|[^aeiouy]l|[aeiouy])es$", word)
    return word.endswith("ed") and not re.search(r"(?:[td]|[aeiouy])ed$", word)
