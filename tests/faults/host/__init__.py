"""What hosts do to runners: full disks, no descriptors, no processes, deaths, clocks, files changed."""
