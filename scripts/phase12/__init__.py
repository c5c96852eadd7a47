"""The rules of governed execution, read from the source by ``scan_phase_12_violations.py``."""
