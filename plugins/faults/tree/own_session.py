"""Has a child leave the session and the process group of its call."""

import json
import os

from hostile import child, tried, wait


def leave_session():
    if os.fork():
        os._exit(0)  # the leader of a group could not leave
    os.setsid()


def run(payload):
    def work():
        answers = tried(group=lambda: os.setpgid(0, 0), session=leave_session)
        os.write(write, json.dumps(answers).encode())

    read, write = os.pipe()
    wait(child(work))
    return json.loads(os.read(read, 4096))
