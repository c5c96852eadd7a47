"""The author's own package of this name."""

raise SystemExit("the author's own plugins was imported")
