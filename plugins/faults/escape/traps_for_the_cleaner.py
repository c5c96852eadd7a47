"""Plants links, FIFOs, deep and closed folders and odd names where somebody will clean up."""

import os


def run(payload):
    file = payload["foreign"]
    os.symlink(os.path.dirname(file), "folder")
    os.symlink(file, "file")
    os.mkfifo("fifo")
    os.makedirs("a/" * 60)
    os.mkdir("closed")
    open("closed/x", "w").close()
    os.symlink("..", "closed/up")
    open("\udcff name \n", "w").close()
    try:
        os.chmod("closed", 0)
    except OSError:
        pass
    return {}
