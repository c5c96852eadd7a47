"""``toolrunner serve``: a supervisor, its worker processes, and their one log."""
