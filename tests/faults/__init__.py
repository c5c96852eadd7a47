"""Fault injection: hostile plugins, failing hosts, malformed protocol, and long runs."""
