"""What a bucket's errors mean, in words that say what to do.

Those of the library and of the server repeat whole requests, in many lines; nothing of them is told
but a status and a code.
"""

from __future__ import annotations

import errno
import re
from http import HTTPStatus

from toolrunner.runner.jobs.blobs import AwayError, RefusedError

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_SIZE = re.compile(r"<ActualObjectSize>(\d{1,20})</ActualObjectSize>")
_WITHOUT_KEY = ("169.254.169.254", "169.254.170.2")  # where a host of Amazon's would have one
_WAITABLE = frozenset({404, 408, 425, 429})
_FULL = frozenset(
    {"XMinioStorageFull", "QuotaExceeded", "InsufficientCapacity", "QuotaExceededException"}
)
_WRONG_REGION = frozenset(
    {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"}
)
_UNKNOWN_KEY = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"})


class BeyondEndError(Exception):
    """A range begins behind the end of a blob."""

    def __init__(self, size_bytes: int) -> None:
        """``size_bytes``: of all of the blob."""
        super().__init__(size_bytes)
        self.size_bytes = size_bytes


def missing(name: str, where: str) -> FileNotFoundError:
    """Return the error of a blob that is not there."""
    return FileNotFoundError(errno.ENOENT, "there is no such blob", f"{where}: {name}")


def told(error: Exception, name: str, where: str) -> Exception:
    """Return what is told of an error that a request for a blob has met."""
    text = str(error)
    found = _STATUS.search(text)
    status = int(found[1]) if found else 0
    code = found[1] if (found := _CODE.search(text)) else ""
    if code == "NoSuchKey":
        return missing(name, where)
    if code == "InvalidRange" or status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return BeyondEndError(int(found[1]) if (found := _SIZE.search(text)) else 0)
    if any(host in text.partition("\n")[0] for host in _WITHOUT_KEY):
        return _refused(where, "there is no key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    what = f"HTTP {status} {code}".rstrip()
    if code in _FULL or status == HTTPStatus.INSUFFICIENT_STORAGE:
        return RefusedError(errno.ENOSPC, f"{where} is full ({what}); make room there")
    if code == "NoSuchBucket":
        return _refused(where, "the bucket is not there: make it, or name another one in `blobs`")
    if code in _WRONG_REGION or _is(status, 300):
        words = f"it is in another region ({what}): say which by ?region=… or AWS_REGION"
        return _refused(where, words)
    if code in _UNKNOWN_KEY or status == HTTPStatus.UNAUTHORIZED:
        words = (
            f"it does not know the key ({what}): mend AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
        return _refused(where, words)
    if status == HTTPStatus.FORBIDDEN:
        return _refused(where, f"it refuses ({what}): let this key list, get, put and delete there")
    if _is(status, 400) and status not in _WAITABLE:
        return _refused(where, f"it refuses ({what})")
    what = what if status else "no answer"
    return AwayError(
        errno.EHOSTUNREACH,
        f"{where} cannot be used now ({what}): start it, or mend the way there; jobs go on then",
    )


def _refused(where: str, words: str) -> RefusedError:
    return RefusedError(errno.EACCES, f"{where}: {words}")


def _is(status: int, first: int) -> bool:
    """Whether a status is one of the hundred that begin with one."""
    return first <= status < first + 100
