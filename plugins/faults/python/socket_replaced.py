"""Replaces the method by which its reply is sent."""

import socket


def run(payload):
    socket.socket.sendall = lambda *_: None
    return {}
