"""Reads, writes, makes, moves, links and lists files of others."""

import os

from hostile import tried


def run(payload):
    file = payload["foreign"]
    folder = os.path.dirname(file)

    def write():
        with open(file, "a") as opened:
            opened.write("x")

    def through_a_link():
        os.symlink(file, "link")
        return open("link").read()

    return tried(
        read=lambda: open(file).read(),
        write=write,
        create=lambda: open(f"{folder}/new", "w"),
        link=lambda: os.link(file, "here"),
        make_folder=lambda: os.mkdir(f"{folder}/sub"),
        list_folder=lambda: os.listdir(folder),
        through_a_link=through_a_link,
        through_proc=lambda: open(f"/proc/self/root{file}").read(),
        through_parents=lambda: open("../" * 20 + file).read(),
        make_fifo=lambda: os.mknod(f"{folder}/fifo", 0o10600),
        rename=lambda: (os.rename(file, f"{file}2"), os.rename(f"{file}2", file)),
        remove=lambda: os.unlink(file),
    )
