"""``toolrunner doctor --attack``: the shipped faults, run on this host, and what came of it."""
