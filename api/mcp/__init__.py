"""Plugins as tools of the Model Context Protocol: what is the same at every door that speaks it."""
