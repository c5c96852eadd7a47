"""What messages are signed with: a secret for each address, in a file of the state folder.

A file of its own, so that receivers go on knowing this server when its jobs are moved away. See
``Secrets`` for what each method does.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolrunner.runner.state.reopened import UnusableError, unusable
from toolrunner.runner.webhooks.addresses import told
from toolrunner.runner.webhooks.message import check_secret
from toolrunner.runner.webhooks.signing import Known, Step, made, newest, replacing

_LOG = logging.getLogger("toolrunner.webhooks")
FILE = "webhook-secrets.json"
_LOCK_FILE = "webhook-secrets.lock"


class SecretFile:
    """The secrets of one state folder."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read or made yet."""
        self._folder = folder

    def of(self, url: str) -> Known:
        known = self._read().get(url)
        return known or self._change(url, made)

    def known(self) -> list[str]:
        return list(self._read())

    def problem(self) -> str:
        try:
            self._read()
        except OSError as error:
            return str(error)
        return ""

    def replace(self, url: str, secret: str | None = None) -> Known:
        return self._change(url, replacing(secret))

    def forget_old(self, url: str) -> Known:
        return self._change(url, newest)

    def _change(self, url: str, step: Step) -> Known:
        path = self._folder / FILE
        # What has been locked before has had secrets, which receivers know.
        was_there = (self._folder / _LOCK_FILE).exists()
        try:
            with self._locked():
                is_lost = was_there and not path.exists()
                secrets = self._read()
                old = secrets.get(url, ())
                new = step(old)
                if new != old:
                    self._write({**secrets, url: new})
        except OSError as error:
            raise unusable(path, error) from error
        if is_lost:
            _LOG.warning(
                "%s was not there any more, and %s has a new secret: put the file back, or give the"
                " receiver the new one (`toolrunner webhooks secret`)",
                path,
                told(url),
            )
        return new

    def _read(self) -> dict[str, tuple[str, ...]]:
        path = self._folder / FILE
        try:
            document = json.loads(path.read_bytes())
            return {url: tuple(map(check_secret, found)) for url, found in document.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            message = (
                f"{path} is not what toolrunner has written ({str(error)[:100]}): mend it, "
                "or remove it and give each receiver its new secret (toolrunner webhooks secret)"
            )
            raise UnusableError(errno.EIO, message) from None
        except OSError as error:
            raise unusable(path, error) from error

    def _write(self, secrets: dict[str, tuple[str, ...]]) -> None:
        new = self._folder / f"{FILE}.new"
        try:
            with os.fdopen(self._opened(new, os.O_TRUNC), "w", encoding="utf-8") as file:
                json.dump(secrets, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._folder / FILE)
        except OSError:
            new.unlink(missing_ok=True)
            raise

    def _opened(self, path: Path, flags: int = 0) -> int:
        """Open a file for the owner of the folder alone: root may speak for the user who serves."""
        flags |= os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        if os.geteuid() == 0:
            folder = self._folder.stat()
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
        return descriptor

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = self._opened(self._folder / _LOCK_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
            # Said, and not left to the closing: a fork that was made meanwhile has a copy.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)
