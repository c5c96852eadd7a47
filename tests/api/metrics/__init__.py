"""Figures: counting in shared memory, and how they are told."""
