"""How to get into the store: the password, which never stands in gateway.yaml, and whose certificates count."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from gateway.configuration.files import read_file
from gateway.store.address import PASSWORD
from gateway.store.trouble import StoreError


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
