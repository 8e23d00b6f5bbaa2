"""Where the store is and how to get in: `store` of gateway.yaml taken apart, and the password, which never stands there."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gateway.configuration.files import read_file
from gateway.store.trouble import StoreError

PASSWORD = "PENSTOCK_REDIS_PASSWORD"  # noqa: S105 - the name of an environment variable
PORT = 6379
DIGITS = 4  # of a database's number


class AddressError(ValueError):
    """The text names no store. Never repeats what might be a password."""


@dataclass(frozen=True, slots=True)
class Address:
    """One Redis server and the number of its database: over TCP (TLS where `tls`), or this machine's socket at `path`."""

    host: str = ""
    port: int = PORT
    tls: bool = False
    path: str = ""
    user: str = ""
    database: int = 0

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host}:{self.port}"


def parse(text: str) -> Address:
    """`redis://[user@]host[:port][/database]`, `rediss://` with TLS, or `unix:///path[?db=number]`. Raises AddressError."""
    try:
        url = urlsplit(text)
        secret, port, host = url.password, url.port, url.hostname
    except ValueError:
        raise AddressError("is not a URL that can be read") from None
    if secret is not None:
        raise AddressError(f"a URL with a password is refused: give it in redis.password_file or {PASSWORD}")
    if not text.isprintable() or " " in text or url.fragment:
        raise AddressError("is not a URL that can be read")
    user = unquote(url.username or "")
    if url.scheme == "unix":
        if not url.path or host:
            raise AddressError("needs the path of a socket: unix:///run/redis/redis.sock")
        number = url.query.removeprefix("db=") if url.query.startswith("db=") else (url.query and "?")
        return Address(path=unquote(url.path), user=user, database=_database(number))
    if url.scheme not in ("redis", "rediss"):
        raise AddressError("is not a redis://, rediss:// or unix:// URL")
    if not host or port == 0 or url.query:
        raise AddressError(f"is not {url.scheme}://host:port/database")
    return Address(host, port or PORT, url.scheme == "rediss", "", user, _database(url.path.strip("/")))


def _database(number: str) -> int:
    if not number:
        return 0
    if not (number.isascii() and number.isdigit() and len(number) <= DIGITS):
        raise AddressError("the database is a whole number: redis://host:6379/0, or unix:///path?db=0")
    return int(number)


@dataclass(frozen=True, slots=True)
class Login:
    """How to get in. Files are read for each connection, so that a password can change while the gateway runs."""

    password_file: Path | None = None
    ca_file: Path | None = None

    def password(self) -> bytes:
        """From the file, or the environment; b"" for none. Raises StoreError for a file that cannot be read."""
        if self.password_file is None:
            return os.fsencode(os.environ.get(PASSWORD, ""))
        try:
            return read_file(self.password_file).rstrip(b"\r\n")
        except OSError as error:
            raise StoreError("password", f"{self.password_file} cannot be read") from error

    def certificates(self) -> ssl.SSLContext:
        """Whose word counts for the server's name: the file's, else the system's. Raises StoreError."""
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise StoreError("tls", f"{self.ca_file} cannot be read") from error
