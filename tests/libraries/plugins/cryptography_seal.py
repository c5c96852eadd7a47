# /// script
# requires-python = ">=3.11"
# dependencies = ["cryptography"]
# [tool.toolrunner]
# name = "cryptography-seal"
# input = "json"
# input_schema = { required = ["text"], examples = [{ text = "a secret" }] }
# warm_up = true
# ///
"""Encrypt, decrypt and sign a text, with cryptography."""

import os

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SIGNING = Ed25519PrivateKey.from_private_bytes(b"k" * 32)


def run(payload):
    key, nonce = AESGCM.generate_key(128), os.urandom(12)
    sealed = AESGCM(key).encrypt(nonce, payload["text"].encode(), b"")
    opened = AESGCM(key).decrypt(nonce, sealed, b"")
    return {"text": opened.decode(), "signature": SIGNING.sign(opened).hex()[:16]}
