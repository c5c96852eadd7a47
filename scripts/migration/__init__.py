"""What ``scripts/migrate_phase_12.py`` is made of. Imports nothing of the project."""
