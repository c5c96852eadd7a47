# /// script
# requires-python = ">=3.11"
# dependencies = ["tokenizers"]
# [tool.toolrunner]
# name = "tokenizers-words"
# input = "json"
# input_schema = { required = ["texts"], examples = [{ texts = ["the cat sat", "the rat"] }] }
# warm_up = true
# ///
"""Tokens of texts, by a model trained when the plugin is loaded, with Hugging Face's tokenizers."""

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.trainers import WordLevelTrainer

TOKENIZER = Tokenizer(WordLevel(unk_token="?"))
TOKENIZER.pre_tokenizer = Whitespace()
TOKENIZER.train_from_iterator(["the cat sat on the mat"], WordLevelTrainer(special_tokens=["?"]))


def run(payload):
    return {"tokens": [one.tokens for one in TOKENIZER.encode_batch(payload["texts"])]}
