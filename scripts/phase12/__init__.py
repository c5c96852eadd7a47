"""The rules of governed execution, read from the source; ``scan_phase_12_violations.py`` runs them."""
