"""The command line: its commands, what they read, run and show. ``main`` is where it starts."""
