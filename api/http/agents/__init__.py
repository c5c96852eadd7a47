"""Plugins as tools for agents, over HTTP: the protocol of ``api/mcp`` with this API's means."""
