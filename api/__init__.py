"""The doors: what people and other programs reach the runner through.

``cli`` is the command ``toolrunner``. Doors read requests, pass them to ``runner`` and show what
comes back; they never run plugin code and decide nothing about a call.
"""
