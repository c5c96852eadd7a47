"""What ``scripts/kernels`` is made of: virtual machines that boot other kernels with this project.

    debian.py      kernels and the programs of a small system, from Debian's archive; nothing of it
                   is installed on this machine
    image.py       what a machine boots from: a first root with modules, a disk with the system and
                   its Python packages, and the checkout as it is
    machine.py     QEMU, from its start to its end
    inside.py      runs in the machine and says what it found, a line each
    rows.py        which kernels and which kinds of host, and the table that comes of them
    command.py     the command line

Needs qemu-system, apt-get and dpkg-deb, tar, mke2fs (e2fsprogs); the standard library alone.
"""
