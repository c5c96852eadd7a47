"""What hosts do to runners: no room, descriptors or processes, deaths, clocks, changed files."""
