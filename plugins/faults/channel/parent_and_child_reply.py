"""Has a child send a reply before its own."""

from hostile import child, frame, send, wait


def run(payload):
    wait(child(lambda: send(frame(b"R"))))
    return {}
