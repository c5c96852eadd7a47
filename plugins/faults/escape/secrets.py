"""Reads the files in which hosts keep their secrets."""

import os

from hostile import tried


def run(payload):
    home = payload["home"]
    return tried(
        passwords=lambda: open("/etc/shadow").read(),
        home=lambda: os.listdir(home),
        ssh_keys=lambda: os.listdir(f"{home}/.ssh"),
        root=lambda: os.listdir("/root"),
        var=lambda: os.listdir("/var/tmp"),
        run=lambda: os.listdir("/run"),
        kernel=lambda: os.listdir("/sys"),
        disks=lambda: os.listdir("/dev/disk"),
    )
