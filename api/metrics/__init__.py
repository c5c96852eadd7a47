"""Figures of a server: what is counted, where its processes count it, and how it is told."""
