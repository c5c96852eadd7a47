"""Run something in a box under limits and tell how it ended.

Knows processes, files and bytes; knows nothing of what plugins mean, of HTTP or of the registry.
"""
