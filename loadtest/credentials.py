"""What clients show Penstock when it is measured: an API key made as operators make them, and an RS256 token."""

from __future__ import annotations

import json
import subprocess
import time
from base64 import urlsafe_b64encode
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from loadtest.processes import StartError

ISSUER, AUDIENCE, KEY_ID = "https://bench.penstock.invalid", "penstock", "bench"
TOKEN_SECONDS = 12 * 3600  # longer than any run
SUBJECT, TENANT, TIER, SCOPE = "bench", "bench", "gold", "models:infer"
Headers = tuple[tuple[str, str], ...]


def api_key(penstock: Path, file: Path) -> Headers:
    """A new key by `penstock keys new`, its hash in the file. Raises StartError if the command refuses."""
    who = ["--subject", SUBJECT, "--tenant", TENANT, "--tier", TIER, "--scope", SCOPE]
    made = subprocess.run([str(penstock), "keys", "new", *who, "--file", str(file)], capture_output=True, text=True)
    if made.returncode != 0 or not made.stdout.strip():
        raise StartError(f"`penstock keys new` made no key:\n{(made.stdout + made.stderr).strip()[-600:]}")
    return (("X-API-Key", made.stdout.split()[-1]),)


def issuer(jwks: Path) -> dict[str, object]:
    """The tokens' issuer as gateway.yaml names it."""
    return {"issuer": ISSUER, "audience": AUDIENCE, "jwks": str(jwks), "algorithms": ["RS256"]}


def bearers(jwks: Path, count: int = 1) -> list[Headers]:
    """So many tokens, all different, signed with a fresh 2048-bit RSA key whose public half is written to the file."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    numbers = private.public_key().public_numbers()
    public = {"n": _base64url(numbers.n.to_bytes(256, "big")), "e": _base64url(numbers.e.to_bytes(3, "big"))}
    jwks.write_text(json.dumps({"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": KEY_ID, **public}]}))
    header = {"alg": "RS256", "typ": "JWT", "kid": KEY_ID}
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "tenant": TENANT, "tier": TIER, "scope": SCOPE}
    made: list[Headers] = []
    for number in range(count):
        parts = header, {**claims, "jti": str(number), "exp": int(time.time()) + TOKEN_SECONDS}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in parts)
        signature = private.sign(signed.encode(), padding.PKCS1v15(), SHA256())
        made.append((("Authorization", f"Bearer {signed}.{_base64url(signature)}"),))
    return made


def _base64url(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()
