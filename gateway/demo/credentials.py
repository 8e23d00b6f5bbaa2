"""Real credentials of the demo's own: API keys made as operators make them, and an issuer of signed tokens with its key set."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.auth.api_keys import entry_of, new_key
from gateway.auth.principals import principal_of
from gateway.cli.keys import append

ISSUER, AUDIENCE, ALGORITHM = "https://demo.penstock.invalid", "penstock", "EdDSA"


class Issuer:
    """Whoever gives out tokens. The private key stays in memory; `jwks` is the file with the public one."""

    def __init__(self, jwks: Path | None = None) -> None:
        self._private = Ed25519PrivateKey.generate()
        public = _base64url(self._private.public_key().public_bytes_raw())
        key = {"kty": "OKP", "crv": "Ed25519", "x": public, "kid": "demo", "alg": ALGORITHM, "use": "sig"}
        if jwks is not None:
            jwks.write_text(json.dumps({"keys": [key]}))

    def bearer(self, seconds: int = 600, **claims: Any) -> dict[str, str]:
        """A token of so many seconds with these claims beside the usual ones, as the header a client sends."""
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "demo", "scope": "models:infer", "exp": int(time.time()) + seconds}
        parts = {"alg": ALGORITHM, "typ": "JWT", "kid": "demo"}, {**usual, **claims}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in parts)
        return {"authorization": f"Bearer {signed}.{_base64url(self._private.sign(signed.encode()))}"}


def _base64url(octets: bytes) -> str:
    """As RFC 7515 writes it: without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def api_key(file: Path, tier: str) -> dict[str, str]:
    """A new key of this tier, its hash appended to the file, as the header a client sends."""
    key = new_key()
    append(file, entry_of(key, principal_of("demo", "acme", tier, ["models:infer"])))
    return {"x-api-key": key}
