# /// script
# requires-python = ">=3.11"
# dependencies = ["spacy"]
# [tool.toolrunner]
# name = "spacy-words"
# input = "json"
# input_schema = { required = ["text"], examples = [{ text = "Ada lives in London. She writes." }] }
# limits = { memory_mb = 1024 }
# warm_up = true
# ///
"""Sentences and names by rules, with a blank pipeline of spaCy."""

import spacy

NLP = spacy.blank("en")
NLP.add_pipe("sentencizer")
NLP.add_pipe("entity_ruler").add_patterns([{"label": "PLACE", "pattern": "London"}])


def run(payload):
    document = NLP(payload["text"])
    return {
        "sentences": [sentence.text for sentence in document.sents],
        "places": [entity.text for entity in document.ents],
    }
