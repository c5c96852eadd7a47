"""The seeded mutator: valid bytes in, broken ones out, the same ones for the same seed.

The tests beside it draw their cases from it. It knows headers and lengths, and texts that have
broken readers before; what must hold for its bytes is each test's own.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

from toolrunner.sandbox.frames import PROGRESS_BYTES_CAP
from toolrunner.sandbox.inside import protocol

_CAPS = (0, protocol.SIGN_CAP, protocol.PROGRESS_CAP, protocol.REPORT_CAP, PROGRESS_BYTES_CAP)
_LENGTHS = sorted({max(0, cap + by) for cap in _CAPS for by in (-1, 0, 1)} | {2**31, 2**32 - 1})
_KINDS = b"cFlPARUXLQ?\x00"
INTERESTING = (
    *(bytes([kind]) for kind in _KINDS),
    *(protocol.HEADER.pack(b"P", length) for length in _LENGTHS),
    *(protocol.HEADER.pack(b"R", length) for length in _LENGTHS),
    *(protocol.HEADER.pack(b"A", length) + b"\x00\x00\x00\x02{}" for length in _LENGTHS),
    b"../",
    b"/",
    b"\xff",
    b"\xed\xa0\x80",  # a surrogate as UTF-8 would write it
    b"\\ud800",
    b"\\u0000",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\x00\x00\xfe\xff",
    b"\xf4\x90\x80\x80",  # past the last code point
    b"\xc0\x80",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-0",
    b"9" * 5000,
    b"0x" + b"f" * 4000,
    b"[" * 200,
    b'{"a":' * 150,
    b"]" * 101,
    b'"',
    b"\\",
    b"null",
    b"true",
    b"1e0",
    b"{}",
    b"[]",
    b'""',
    b",",
    b"=",
    b"\n",
    b"\r\n",
    b"# ///\n",
    b"[[a.b]]\n",
    b"--",
)


class Mutator:
    """Draws cases. One seed, one sequence."""

    def __init__(self, seed: str) -> None:
        self.random = Random(seed)
        self._operations: Sequence[Callable[[bytes, bytes], bytes]] = (
            self._flip,
            self._flip,
            self._set,
            self._truncate,
            self._remove,
            self._duplicate,
            self._splice,
            self._insert,
            self._insert,
            self._length,
        )

    def mutated(self, data: bytes, other: bytes) -> bytes:
        """Return ``data`` with one to four things done to it; ``other`` may be spliced in."""
        for _ in range(self.random.choice((1, 1, 2, 4))):
            data = self.random.choice(self._operations)(data, other)
        return data

    def cases(self, corpus: Sequence[bytes], count: int) -> Iterator[bytes]:
        """Yield ``count`` cases, one in eight of them as it is in the corpus."""
        for index in range(count):
            data = self.random.choice(corpus)
            yield self.mutated(data, self.random.choice(corpus)) if index % 8 else data

    def _place(self, data: bytes) -> int:
        return int(self.random.random() * (len(data) + 1))

    def _slice(self, data: bytes) -> tuple[int, int]:
        start = self._place(data)
        return start, start + self.random.choice((1, 2, 4, 5, 16, 64, 256))

    def _flip(self, data: bytes, _: bytes) -> bytes:
        at = self._place(data)
        flipped = bytes([byte ^ (1 << self.random.randrange(8)) for byte in data[at : at + 1]])
        return data[:at] + flipped + data[at + 1 :]

    def _set(self, data: bytes, _: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + self.random.randbytes(1) + data[at + 1 :]

    def _truncate(self, data: bytes, _: bytes) -> bytes:
        return data[: self._place(data)]

    def _remove(self, data: bytes, _: bytes) -> bytes:
        start, end = self._slice(data)
        return data[:start] + data[end:]

    def _duplicate(self, data: bytes, _: bytes) -> bytes:
        start, end = self._slice(data)
        return data[:end] + data[start:]

    def _splice(self, data: bytes, other: bytes) -> bytes:
        return data[: self._place(data)] + other[self._place(other) :]

    def _insert(self, data: bytes, _: bytes) -> bytes:
        at = self._place(data)
        return data[:at] + self.random.choice(INTERESTING) + data[at:]

    def _length(self, data: bytes, _: bytes) -> bytes:
        """Write another length where the first frame, or anything, may have one."""
        at = self.random.choice((1, 1, self._place(data)))
        length = self.random.choice((self.random.choice(_LENGTHS), self._place(data)))
        return data[:at] + length.to_bytes(4, "big") + data[at + 4 :]


def cuttings(data: bytes) -> list[list[int]]:
    """Return some ways to cut ``data``, each as the ends of its chunks; the bytes decide which.

    So the bytes alone are enough to repeat a case. Long ones are not cut into single bytes.
    """
    size = len(data)
    random = Random(zlib.crc32(data))
    some = sorted(random.randrange(size + 1) for _ in range(random.choice((1, 3, 20))))
    fixed = range(0, size, random.choice((1, 4, 5, 6)) if size < 300 else 1 + size // 60)
    return [[*some, size], [*fixed, size]]


def try_each(seed: str, cases: Iterable[bytes], check: Callable[[bytes], int]) -> int:
    """Check each case; return the sum of what the checks count. A failure says how to repeat it."""
    total = 0
    for index, data in enumerate(cases):
        try:
            total += check(data)
        except Exception as error:
            message = f"seed {seed!r}, case {index}, bytes {data.hex()}: {error!r}"
            raise AssertionError(message) from error
    return total
