"""Real credentials of the demo's own: API keys made as operators make them, and an issuer of signed tokens with its key set."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from gateway.auth.api_keys import entry_of, new_key
from gateway.auth.principals import principal_of
from gateway.cli.keys import append

ISSUER, AUDIENCE, ALGORITHM = "https://demo.penstock.invalid", "penstock", "ES256"


class Issuer:
    """Whoever gives out tokens. The private key stays in memory; `jwks` is the file with the public one."""

    def __init__(self, jwks: Path | None = None) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        public = {**ECAlgorithm.to_jwk(self._private.public_key(), as_dict=True), "kid": "demo", "alg": ALGORITHM, "use": "sig"}
        if jwks is not None:
            jwks.write_text(json.dumps({"keys": [public]}))

    def bearer(self, seconds: int = 600, **claims: Any) -> dict[str, str]:
        """A token of so many seconds with these claims beside the usual ones, as the header a client sends."""
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "demo", "scope": "models:infer", "exp": int(time.time()) + seconds}
        token = jwt.encode({**usual, **claims}, self._private, algorithm=ALGORITHM, headers={"kid": "demo"})
        return {"authorization": f"Bearer {token}"}


def api_key(file: Path, tier: str) -> dict[str, str]:
    """A new key of this tier, its hash appended to the file, as the header a client sends."""
    key = new_key()
    append(file, entry_of(key, principal_of("demo", "acme", tier, ["models:infer"])))
    return {"x-api-key": key}
