"""The address of a database, with a password that nothing shows.

``settings`` reads it; what connects asks for the secret. Knows no database library.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

_SCHEMES = ("postgresql://", "postgres://")
_SECRET_PARAMETERS = frozenset({"password", "sslpassword"})
_HIDDEN = "***"
_HOST = r"(\[[^\]@,]*\]|[^:@,\[\]]*)(:[0-9]*)?"
_HOSTS = re.compile(f"{_HOST}(,{_HOST})*")
_PORTED = re.compile(_HOSTS.pattern.replace("[0-9]*", r"[^:@,\[\]]*"))  # a number or not


@dataclass(frozen=True, slots=True, repr=False)
class DatabaseUrl:
    """A URL of PostgreSQL as libpq reads it; "" for none. As text it has no password."""

    secret: str

    @classmethod
    def parse(cls, value: object) -> DatabaseUrl:
        """Return what a setting says; raises ValueError, which repeats nothing of it."""
        if isinstance(value, DatabaseUrl):
            return value
        if value == "":
            return cls("")
        if not isinstance(value, str) or not value.startswith(_SCHEMES):
            message = "must be empty, or a URL such as postgresql://user@host/database"
            raise ValueError(message)
        url = cls(value)
        # Such a password would be read as another part of the URL, and be shown.
        _, _, hosts = url._authority().rpartition("@")
        if _PORTED.fullmatch(hosts) and not _HOSTS.fullmatch(hosts):
            message = (
                "must have a number for its port, and special characters of its parts"
                " percent-encoded, as %40 for @"
            )
            raise ValueError(message)
        is_split = any(mark in url._behind_authority() for mark in "@#")
        is_doubtful = url._authority().count("@") > 1 or not _HOSTS.fullmatch(hosts)
        if is_split or is_doubtful or not value.isprintable():
            message = "must have special characters of its parts percent-encoded, as %40 for @"
            raise ValueError(message)
        return url

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self.secret)

    def __str__(self) -> str:
        """Return it with its passwords replaced."""
        if not self.secret:
            return ""
        scheme, _, _ = self.secret.partition("://")
        user, at, hosts = self._authority().rpartition("@")
        name, colon, _password = user.partition(":")
        path, question, query = self._behind_authority().partition("?")
        shown = "&".join(map(_parameter, query.split("&")))
        return f"{scheme}://{name}{colon and ':' + _HIDDEN}{at}{hosts}{path}{question}{shown}"

    def __repr__(self) -> str:
        """Return it as it may be shown."""
        return f"DatabaseUrl({str(self)!r})"

    def harmless(self, text: str) -> str:
        """Return a text of a library's without the passwords of this URL."""
        for secret in self._secrets():
            for one in {secret, unquote(secret)} - {""}:
                text = text.replace(one, _HIDDEN)
        return text

    def _secrets(self) -> list[str]:
        _, _, query = self._behind_authority().partition("?")
        parameters = (one.partition("=") for one in query.split("&"))
        in_query = [value for name, _, value in parameters if _is_secret(name)]
        user, _, _ = self._authority().rpartition("@")
        return [user.partition(":")[2], *in_query]

    def _authority(self) -> str:
        _, _, rest = self.secret.partition("://")
        return rest[: _end_of_authority(rest)]

    def _behind_authority(self) -> str:
        _, _, rest = self.secret.partition("://")
        return rest[_end_of_authority(rest) :]


def _end_of_authority(rest: str) -> int:
    return min((place for mark in "/?#" if (place := rest.find(mark)) >= 0), default=len(rest))


def _parameter(text: str) -> str:
    name, equals, _value = text.partition("=")
    return f"{name}{equals}{_HIDDEN}" if _is_secret(name) else text


def _is_secret(name: str) -> bool:
    """Whether a parameter is a password; libpq decodes its name as well."""
    return unquote(name) in _SECRET_PARAMETERS
