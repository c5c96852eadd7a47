"""The author's own package of this name."""

raise SystemExit("the author's own runner was imported")
