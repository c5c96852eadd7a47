# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.toolrunner]
# name = "fetch"
# version = "1.0.0"
# description = "Opens a socket, and does without where it may not"
# input = "json"
# network = true
# ///
"""Opens a socket, and does without where it may not."""

import socket


class Plugin:
    def run(self, payload):
        try:
            socket.socket().close()
        except OSError:
            return {"from": "fallback"}
        return {"from": "network"}
