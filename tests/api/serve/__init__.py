"""``toolrunner serve`` as real processes."""
