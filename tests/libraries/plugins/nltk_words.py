# /// script
# requires-python = ">=3.11"
# dependencies = ["nltk"]
# [tool.toolrunner]
# name = "nltk-words"
# input = "json"
# input_schema = { required = ["text"], examples = [{ text = "Running dogs run with the runners" }] }
# warm_up = true
# ///
"""Stems of words and how often each stands there, with NLTK."""

from nltk import FreqDist
from nltk.stem import PorterStemmer
from nltk.tokenize import wordpunct_tokenize

STEMMER = PorterStemmer()


def run(payload):
    stems = [STEMMER.stem(word) for word in wordpunct_tokenize(payload["text"])]
    return {"most": FreqDist(stems).most_common(1)}
