"""Makes what a machine boots from. What takes long is made once, in the folder of the cache."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from guests.debian import Archive

ROOT = Path(__file__).resolve().parent.parent.parent
BASE_SUITE, BASE_PYTHON = "bookworm", "3.11"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_SYSTEM = (
    "bash", "coreutils", "util-linux", "mount", "procps", "grep", "sed", "findutils", "tar", "gzip",
    "base-files", "base-passwd", "dash", "iproute2", "libc-bin", "passwd", "python3",
    "python3-venv", "libstdc++6",
)  # fmt: skip
# For the disk; all else that is needed is built into Debian's kernels for clouds.
_MODULES = (
    "virtio", "virtio_ring", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
    "virtio_blk",
)  # fmt: skip
# What needs no kernel, or is large: linters, types, reading text in pictures.
_LEFT_OUT = ("colorama", "mypy", "ruff", "zizmor", "types-", "rapidocr", "onnxruntime", "opencv-")
_WHEELS = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
_SPARE_MIB = 1500

_INIT = """\
#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /dev /new; $b mount -t devtmpfs dev /dev
for module in MODULES; do [ ! -e /$module.ko ] || $b insmod /$module.ko; done
until [ -b /dev/vdb ]; do $b sleep 0.1; done
$b mount -t ext4 /dev/vda /new; $b mount -t devtmpfs dev /new/dev
$b mount -t proc proc /new/proc; $b mount -t sysfs sys /new/sys
$b mount -t tmpfs -o mode=755 run /new/run; $b cp /bin/busybox /run-first /new/run/
exec $b switch_root /new /bin/bash /run/run-first
"""
# Bash is the machine's first process: it reaps what others leave.
_RUN_FIRST = """\
export PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/usr/sbin HOME=/root LANG=C.UTF-8
mkdir -p /dev/pts /dev/shm /srv/toolrunner
mount -t devpts -o ptmxmode=666 pts /dev/pts; mount -t tmpfs -o mode=1777 shm /dev/shm
ln -sfn /proc/self/fd /dev/fd
ln -sfn fd/0 /dev/stdin; ln -sfn fd/1 /dev/stdout; ln -sfn fd/2 /dev/stderr
ip link set lo up; ulimit -Sc 0; ulimit -Hn 524288; ulimit -Sn 1024
tar -C /srv/toolrunner -xf /dev/vdb; cd /srv/toolrunner
python -P scripts/guests/inside.py
sync; /run/busybox poweroff -f
"""


class Images:
    """What machines boot from, in one folder."""

    def __init__(self, cache: Path, say: Callable[[str], None]) -> None:
        self._cache = cache
        self._say = say

    def kernel(self, suite: str, architecture: str) -> tuple[Path, Path]:
        """Return the newest kernel of a suite, and a first root with what it needs for its disk."""
        folder = self._cache / f"kernel-{suite}-{architecture}"
        if not folder.exists():
            self._say(f"getting the kernel of {suite} for {architecture}")
            with _unfinished(folder) as new:
                self._make_kernel(suite, architecture, new)
        return folder / "vmlinuz", folder / "first-root.gz"

    def _make_kernel(self, suite: str, architecture: str, folder: Path) -> None:
        archive = Archive(self._cache, suite, architecture)
        name = f"linux-image-cloud-{architecture}"
        image = archive.dependency(name, r"linux-image-\d.*")
        if image is None:
            raise LookupError(f"{suite} has no {name}")
        parts = [archive.dependency(image, rf"linux-{part}-\d.*") for part in ("binary", "modules")]
        files = folder / "files"
        archive.unpack([image, "busybox-static", *filter(None, parts)], files)
        shutil.copyfile(next(p for p in files.rglob("vmlinuz*") if p.is_file()), folder / "vmlinuz")
        busybox = next(p for p in files.rglob("bin/busybox") if p.is_file())
        entries = {
            "init": _INIT.replace("MODULES", " ".join(_MODULES)).encode(),
            "run-first": _RUN_FIRST.encode(),
            "bin/busybox": busybox.read_bytes(),
        }
        for module in _MODULES:
            for path in files.rglob(f"{module}.ko*"):
                data = path.read_bytes()
                entries[f"{module}.ko"] = lzma.decompress(data) if path.suffix == ".xz" else data
        (folder / "first-root.gz").write_bytes(gzip.compress(cpio(entries), 1))
        shutil.rmtree(files)

    def disk(self, architecture: str) -> Path:
        """Return a disk with Debian, Python and what the lock of this checkout names."""
        folder = self._cache / disk_name(architecture)
        if not folder.exists():
            self._say(f"making a disk with Debian and Python {BASE_PYTHON} for {architecture}")
            with _unfinished(folder) as new:
                self._make_disk(architecture, [*_lock()], new)
        return folder / "disk"

    def _make_disk(self, architecture: str, lock: list[str], folder: Path) -> None:
        root = folder / "root"
        Archive(self._cache, BASE_SUITE, architecture).unpack_system(_SYSTEM, root)
        for name in ("passwd", "group"):
            shutil.copyfile(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
        with (root / "etc/passwd").open("a") as users:
            users.write("user:x:1000:1000::/home/user:/bin/bash\n")
        for name in ("dev", "proc", "sys", "run", "srv", "tmp", "var/tmp", "home/user"):
            (root / name).mkdir(parents=True, exist_ok=True)
        for name in ("doc", "man", "locale"):
            shutil.rmtree(root / "usr/share" / name, ignore_errors=True)
        venv = root / "opt/venv"
        (venv / "bin").mkdir(parents=True)
        for name in ("python", "python3"):
            (venv / "bin" / name).symlink_to(f"/usr/bin/python{BASE_PYTHON}")
        (venv / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {BASE_PYTHON}\n")
        site = venv / f"lib/python{BASE_PYTHON}/site-packages"
        self._install(architecture, lock, folder, site)
        (site / "toolrunner.pth").write_text("/srv/toolrunner\n")
        if sys.version_info[:2] == (3, 11):
            for place in (site, root / f"usr/lib/python{BASE_PYTHON}"):
                command = [sys.executable, "-m", "compileall", "-q", "-s", str(root), "-p", "/"]
                subprocess.run([*command, str(place)], stdout=subprocess.DEVNULL, check=False)
        used = int(subprocess.check_output(["du", "-sm", str(root)]).split()[0])
        make = ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(folder / "disk")]
        # Owners are taken from the files: in a user namespace its maker is root.
        prefix: list[str] = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
        size = f"{used * 5 // 4 + _SPARE_MIB}M"
        subprocess.run([*prefix, *make, size], stdout=subprocess.DEVNULL, check=True)
        shutil.rmtree(root)

    def _install(self, architecture: str, lock: list[str], folder: Path, site: Path) -> None:
        """Unpack the wheels of the machine's architecture; nothing of them is run."""
        pip = self._cache / "pip"
        if not pip.exists():
            with _unfinished(pip) as new:
                subprocess.run([sys.executable, "-m", "venv", str(new)], check=True)
        wanted = folder / "lock"
        wanted.write_text("\n".join(lock), "utf-8")
        platforms = [f"--platform={tag}_{MACHINES[architecture]}" for tag in _WHEELS]
        command = [str(pip / "bin/python3"), "-m", "pip", "install", "--disable-pip-version-check"]
        command += [
            "-qq",
            "--no-compile",
            "--no-deps",
            "--require-hashes",
            "--only-binary=:all:",
        ]
        command += ["--implementation=cp", f"--python-version={BASE_PYTHON}", *platforms]
        subprocess.run([*command, "--target", str(site), "-r", str(wanted)], check=True)

    def checkout(self, job: dict[str, Any], file: Path) -> None:
        """Write the sources as they are in this checkout, and a job, as an archive."""
        listed = [
            "git",
            "-c",
            "safe.directory=*",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]
        names = subprocess.check_output(listed, cwd=ROOT, text=True).split("\0")
        with tarfile.open(file, "w") as archive:
            for name in sorted(filter(None, names)):
                if os.path.lexists(ROOT / name):
                    archive.add(ROOT / name, name, recursive=False, filter=_as_root)
            text = json.dumps(job).encode()
            entry = tarfile.TarInfo("job.json")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode |= 0o555 if entry.mode & 0o100 else 0o444
    return entry


class _unfinished:  # noqa: N801 - a context manager, used as a function
    """A folder that gets its name once all that belongs in it is there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Path:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        self._new = tempfile.mkdtemp(prefix=f".{self._folder.name}-", dir=self._folder.parent)
        return Path(self._new)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            Path(self._new).rename(self._folder)
        shutil.rmtree(self._new, ignore_errors=True)


def disk_name(architecture: str) -> str:
    """Return the name of the folder with the disk that this checkout needs."""
    digest = hashlib.sha256("\n".join([*_lock(), *_SYSTEM]).encode()).hexdigest()[:12]
    return f"disk-{architecture}-{digest}"


def _lock() -> Iterator[str]:
    return locked((ROOT / "requirements-dev.lock").read_text("utf-8"))


def locked(text: str) -> Iterator[str]:
    """Yield the lines of a lock without what is not needed in a machine."""
    keep = True
    for line in text.splitlines():
        if line[:1].isalpha():
            keep = not line.startswith(_LEFT_OUT)
        if keep:
            yield line


def cpio(files: dict[str, bytes]) -> bytes:
    """Return an archive in the format that the kernel unpacks ("newc"); all is executable."""
    folders = dict.fromkeys(name.rpartition("/")[0] for name in files if "/" in name)
    entries = [(name, 0o040755, b"") for name in folders]
    entries += [(name, 0o100755, data) for name, data in files.items()]
    out = io.BytesIO()
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        path = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        out.write(b"070701" + b"".join(b"%08X" % field for field in fields) + path)
        out.write(bytes(-out.tell() % 4) + data)
        out.write(bytes(-out.tell() % 4))
    return out.getvalue()
