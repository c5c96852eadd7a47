"""Gives back files in a shape, or under a name, that no worker would; some would be paths."""

import json
import struct
import time

from hostile import LONG, frame, send


def artifact(name="a.png", mime_type="image/png", data=b"x", **more):
    head = json.dumps({"name": name, "mime_type": mime_type, **more}).encode()
    return with_head(head, data)


def with_head(head, data=b"x"):
    return frame(b"A", struct.pack(">I", len(head)) + head + data)


VARIANTS = {
    "above": artifact("../../etc/passwd"),
    "absolute": artifact("/etc/passwd"),
    "a folder": artifact("a/b"),
    "another system's": artifact("..\\a"),
    "dots": artifact(".."),
    "hidden": artifact(".bashrc"),
    "an option": artifact("--help"),
    "no name": artifact(""),
    "too long": artifact("a" * 129),
    "a line break": artifact("a\nb"),
    "a line break at its end": artifact("a\n"),
    "a zero byte": artifact("a\0.png"),
    "a surrogate": artifact("a\ud800"),
    "other digits": artifact("\u0663"),
    "other letters": artifact("\u202egnp.exe"),
    "a number": artifact(7),
    "null": artifact(None),
    "a list": artifact(["a"]),
    "twice": artifact() + artifact(),
    "a header": artifact(mime_type="text/html\r\nSet-Cookie: a=b"),
    "no type": artifact(mime_type=""),
    "half a type": artifact(mime_type="image"),
    "a type with parameters": artifact(mime_type="text/html; charset=utf-8"),
    "a type that is a number": artifact(mime_type=7),
    "no JSON": with_head(b"{"),
    "not UTF-8": with_head(b'{"name": "\xff", "mime_type": "image/png"}'),
    "a list as head": with_head(b'["a.png", "image/png"]'),
    "deep": with_head(b"[" * 1000),
    "a long head": artifact(more="x" * 1024),
    "no head": frame(b"A", b""),
    "half a head": frame(b"A", b"\0\0"),
    "a head beyond its frame": frame(b"A", struct.pack(">I", 1000) + b"{}"),
    "a head of 4 GiB": frame(b"A", struct.pack(">I", 2**32 - 1) + b"{}"),
}


def run(payload):
    send(VARIANTS[payload["variant"]])
    time.sleep(LONG)
