"""Reports progress without an end."""

from hostile import frame, send


def run(payload):
    body = b'{"fraction": 0, "message": "' + b"x" * 4000 + b'"}'
    while True:
        send(frame(b"P", body))
