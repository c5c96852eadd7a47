"""The author's own package of this name."""

raise SystemExit("the author's own sandbox was imported")
