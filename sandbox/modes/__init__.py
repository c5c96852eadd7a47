"""The modes in which a call runs: ``cold``, a box a call; ``warm``, a fork of the loaded plugin.

A mode takes a call or leaves it (``mode``). Each stands alone on what all share (``boxes``).
"""
