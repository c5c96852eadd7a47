"""A PostgreSQL of its own: an ordinary user's, in a folder of its own, without a port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from members.program import Program, ProgramError

# Whose it is where root starts it, the first that there is: PostgreSQL refuses root, and initdb
# wants to know what its user is called.
_ORDINARY = ("postgres", "nobody")
_READY = r"database system is ready to accept (read-only )?connections"
# What a server that is for trying does without.
QUICK = ("fsync=off", "shared_buffers=16MB")
_MOST_SOCKET = 107  # bytes of a socket's path
_SOCKET = "/.s.PGSQL.5432"
_USER = "toolrunner"


def programs() -> Path:
    """Return the folder of PostgreSQL's programs; raise ProgramError where it cannot be used."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        message = f"initdb runs for no user without a name (uid {os.geteuid()})"
        raise ProgramError(message) from None
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        message = (
            "PostgreSQL's programs (initdb, postgres) are not installed: on Debian and Ubuntu,"
            " apt-get install postgresql"
        )
        raise ProgramError(message)
    return found[-1].parent if found else Path(str(on_path)).resolve().parent


def as_ordinary() -> list[str]:
    """Return the options of setpriv that make a command an ordinary user's; [] if it is already."""
    if os.geteuid() != 0:
        return []
    user = _ordinary()
    return ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]


def _ordinary() -> pwd.struct_passwd:
    known = {user.pw_name: user for user in pwd.getpwall()}
    return next(known[name] for name in _ORDINARY if name in known)


class Postgres(Program):
    """One server."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        """``folder`` is made if it is not there; of another user, where root starts it."""
        # SIGINT does not wait for who is connected.
        super().__init__(
            "PostgreSQL", folder.with_name(f"{folder.name}.log"), asked_by=signal.SIGINT
        )
        self._folder = folder
        self._bin = bin_folder

    def url(self, database: str = "postgres", *, user: str = _USER) -> str:
        """Return the URL of a database; its administrator is ``toolrunner``."""
        return f"postgresql://{user}@/{database}?host={self._folder}"

    @property
    def folder(self) -> Path:
        """Where its socket lies, and its files are."""
        return self._folder

    def make(self) -> None:
        """Make its files, if they are not there. Raises ProgramError."""
        self.make_folder()
        data = self._folder / "data"
        if (data / "PG_VERSION").exists():
            return
        command = [str(self._bin / "initdb"), "-D", str(data), "-U", _USER, "-A", "trust"]
        self._run([*command, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"])

    def make_folder(self) -> None:
        """Make its folder, of its own user. Raises ProgramError."""
        if len(os.fsencode(f"{self._folder}{_SOCKET}")) > _MOST_SOCKET:
            message = f"{self._folder} is too long for the path of a socket: name a shorter folder"
            raise ProgramError(message)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            user = _ordinary()
            os.chown(self._folder, user.pw_uid, user.pw_gid)
            self._insist(user.pw_name)

    def _insist(self, user: str) -> None:
        """Raise ProgramError where the user whose it is does not get."""
        test = ["setpriv", *as_ordinary(), "--", "test", "-w", str(self._folder)]
        if subprocess.run(test, check=False, cwd="/").returncode:
            message = (
                f"PostgreSQL does not run as root, and {user} cannot reach {self._folder}: name a"
                " folder below /var/tmp, or let others pass through those above it (chmod o+x)"
            )
            raise ProgramError(message)

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            ["setpriv", *as_ordinary(), "--", *command],
            capture_output=True,
            cwd="/",
            check=False,
        )
        if done.returncode:
            words = done.stderr.decode("utf-8", "replace").strip()
            message = f"{Path(command[0]).name} has failed:\n{words}"
            raise ProgramError(message)

    def copy_to(self, other: Postgres) -> None:
        """Make the files of a standby of this one, which runs. Raises ProgramError."""
        other.make_folder()
        command = [str(self._bin / "pg_basebackup"), "-D", str(other.folder / "data")]
        command += ["-h", str(self._folder), "-U", _USER, "--checkpoint=fast", "--no-sync"]
        self._run([*command, "--write-recovery-conf", "--wal-method=stream"])

    def start(self, *options: str) -> None:
        """Start it, and return when it answers; ``options`` are those of ``postgres``."""
        command = [str(self._bin / "postgres"), "-D", str(self._folder / "data")]
        command += ["-k", str(self._folder), "-c", "listen_addresses="]
        for setting in QUICK:
            command += ["-c", setting]
        self.begin([*command, *options], _READY, user=as_ordinary())
        self.ready()

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it: by SIGINT without waiting for who is connected, by SIGQUIT as by a crash."""
        self.send(number)
        self.wait()
