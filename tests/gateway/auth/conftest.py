"""Issuers' private keys, and tokens signed with them exactly as a test says, right or wrong."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from gateway.auth.jwk import VerifyKey

NOW = 1_800_000_000.0
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def b64(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def number(value: int) -> str:
    """An integer as a JWK member."""
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@dataclass(frozen=True)
class Signer:
    """One key pair of an issuer."""

    algorithm: str
    kid: str
    private: Private

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public key as its issuer publishes it."""
        public: dict[str, Any]
        if isinstance(self.private, rsa.RSAPrivateKey):
            numbers = self.private.public_key().public_numbers()
            public = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
        elif isinstance(self.private, ec.EllipticCurvePrivateKey):
            point = self.private.public_key().public_numbers()
            size = (self.private.key_size + 7) // 8
            curve = {"secp256r1": "P-256", "secp384r1": "P-384"}[self.private.curve.name]
            public = {"kty": "EC", "crv": curve, "x": b64(point.x.to_bytes(size, "big")), "y": b64(point.y.to_bytes(size, "big"))}
        else:
            public = {"kty": "OKP", "crv": "Ed25519", "x": b64(self.private.public_key().public_bytes_raw())}
        return {**public, "kid": self.kid, "alg": self.algorithm, "use": "sig", **changes}

    def sign(self, signed: bytes) -> bytes:
        """The JWS signature."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            r, s = utils.decode_dss_signature(self.private.sign(signed, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self.private.sign(signed)

    def token(self, claims: Mapping[str, Any] | bytes = {}, header: Mapping[str, Any] | None = None) -> str:
        """A token: good, except for the claims given (None takes one away) and the header (replaced when given)."""
        good = {"iss": "https://id.test", "aud": "penstock", "sub": "alice", "exp": int(NOW) + 600}
        head = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT"} if header is None else header
        if isinstance(claims, bytes):
            body = claims
        else:
            body = json.dumps({name: value for name, value in {**good, **claims}.items() if value is not None}).encode()
        signed = f"{b64(json.dumps(head).encode())}.{b64(body)}"
        return f"{signed}.{b64(self.sign(signed.encode()))}"


def key_set(*keys: dict[str, Any]) -> bytes:
    """A JWK Set."""
    return json.dumps({"keys": keys}).encode()


class Found:
    """An issuer's keys, at hand."""

    empty = False

    def __init__(self, keys: Mapping[str, VerifyKey]) -> None:
        self._keys = keys

    def find(self, algorithm: str, kid: str | None) -> VerifyKey | None:
        key = self._keys.get(kid or "")
        return key if key is not None and key.algorithm == algorithm else None

    def may_learn(self) -> bool:
        return False

    def begin(self) -> bool:
        return False

    async def learn(self) -> bool:
        return False


@pytest.fixture(scope="session")
def rsa_signer() -> Signer:
    """The least RSA that is admitted."""
    return Signer("RS256", "rsa-1", rsa.generate_private_key(65537, 2048))


@pytest.fixture(scope="session")
def ec_signer() -> Signer:
    """A P-256 key."""
    return Signer("ES256", "ec-1", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture(scope="session")
def ed_signer() -> Signer:
    """An Ed25519 key."""
    return Signer("EdDSA", "ed-1", ed25519.Ed25519PrivateKey.generate())


@pytest.fixture(params=["rsa_signer", "ec_signer", "ed_signer"])
def signer(request: pytest.FixtureRequest) -> Signer:
    """Each kind of key in turn."""
    made: Signer = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def jwks_of() -> Callable[..., bytes]:
    """Makes a JWK Set of public keys."""
    return key_set


@pytest.fixture
def jwks_file(tmp_path: Path, rsa_signer: Signer, ec_signer: Signer, ed_signer: Signer) -> Path:
    """A file with one public key of each kind."""
    path = tmp_path / "jwks.json"
    path.write_bytes(key_set(rsa_signer.jwk(), ec_signer.jwk(), ed_signer.jwk()))
    return path


class Spawner:
    """Runs background work and ends it with the test."""

    def __init__(self) -> None:
        self.tasks: list[Any] = []

    def __call__(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work, name=name))

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class Ticker:
    """A clock that moves when told; `sleeps` are the waits asked for, ended by moving past them."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.sleeps: list[tuple[float, Any]] = []

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self.sleeps.append((self.time + seconds, woken))
        await woken

    def move(self, seconds: float) -> None:
        self.time += seconds
        for at, woken in self.sleeps:
            if at <= self.time and not woken.done():
                woken.set_result(None)


@pytest.fixture
async def spawn() -> Any:
    """Runs background work until the test ends."""
    spawner = Spawner()
    yield spawner
    await spawner.stop()


@pytest.fixture
def ticker() -> Ticker:
    """A clock that moves when told."""
    return Ticker()


class Issuer:
    """A real issuer on a free port, whose key set can change, hang and go."""

    def __init__(self, document: bytes) -> None:
        self.document = document
        self.fetches = 0
        self.release = asyncio.Event()
        self.release.set()
        self.runner = web.AppRunner(web.Application(), shutdown_timeout=0.1)
        self.runner.app.router.add_get("/jwks", self._answer)

    async def start(self) -> str:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}/jwks"

    async def _answer(self, request: web.Request) -> web.Response:
        self.fetches += 1
        await self.release.wait()
        return web.Response(body=self.document)
