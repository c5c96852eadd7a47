"""Counts words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import PluginBase

if TYPE_CHECKING:
    from collections.abc import Mapping


class WordCounter(PluginBase):
    name = "words"

    def run(self, payload: Mapping[str, object]) -> dict[str, int]:
        return {"words": len(str(payload["text"]).split())}


def main() -> None:
    print(WordCounter().run({"text": "one two"}))
