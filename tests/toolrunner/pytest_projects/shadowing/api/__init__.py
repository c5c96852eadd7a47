"""The author's own package of this name."""

raise SystemExit("the author's own api was imported")
