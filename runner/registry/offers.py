"""Where in a cluster a plugin takes calls of jobs: by whom, and in which version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offer:
    """``workers`` of a host run jobs of a plugin in one version; "" for one that has none."""

    host: str
    version: str
    workers: int


# By plugin; of one that is suspended everywhere there is none. ``None``: nobody can tell now.
Offers = Mapping[str, tuple[Offer, ...]]
MaybeOffers = Offers | None
