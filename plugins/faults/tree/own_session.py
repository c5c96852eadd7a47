"""Has a child leave the session and the process group of its call."""

import json
import os

from hostile import child, tried, wait


def run(payload):
    def work():
        answers = tried(session=os.setsid, group=lambda: os.setpgid(0, 0))
        os.write(write, json.dumps(answers).encode())

    read, write = os.pipe()
    wait(child(work))
    return json.loads(os.read(read, 4096))
