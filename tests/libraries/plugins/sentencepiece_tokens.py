# /// script
# requires-python = ">=3.11"
# dependencies = ["sentencepiece"]
# [tool.toolrunner]
# name = "sentencepiece-tokens"
# input = "json"
# input_schema = { required = ["text"], examples = [{ text = "the cat sat" }] }
# warm_up = true
# ///
"""Tokens of a text, by a model trained when the plugin is loaded, with SentencePiece."""

import io

import sentencepiece

SENTENCES = ["the cat sat on the mat", "a cat ate the rat", "the rat sat on a mat"] * 20
MODEL = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(SENTENCES), model_writer=MODEL, vocab_size=18, minloglevel=2
)
TOKENS = sentencepiece.SentencePieceProcessor(model_proto=MODEL.getvalue())


def run(payload):
    tokens = TOKENS.encode(payload["text"])
    return {"text": TOKENS.decode(tokens), "some": 3 <= len(tokens) <= 11}
