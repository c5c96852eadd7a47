"""Imports at once, and has nothing that could be run."""

run = 7
