"""Hostile bytes in volume, for everything that reads what it did not write."""
