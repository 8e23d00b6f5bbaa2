"""The issuer's key set server killed, stopped, broken and asked for nonsense: tokens go on holding, nobody suffers."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm

from tests.faults.crew import running, serving
from tests.faults.figures import LONG, Figures, percentile
from tests.faults.jwks_server import JwksServer
from tests.real_parts import AUDIENCE, ISSUER, GatewayProcess, start_gateway, until

pytestmark = pytest.mark.slow
PART = "JWKS"
OUTAGE = 3.0 if LONG else 0.3  # seconds of each
STORM = 15.0 if LONG else 2.0
POLICY = {
    "version": 1,
    "backends": {"none": {"protocol": "triton-http", "endpoints": ["127.0.0.1:9"]}},
    "models": {
        "m": {"timeout": "1s", "variants": {"v": {"backend": "none", "model": "m"}}, "routes": [{"name": "default", "use": "v"}]}
    },
}


class Signing:
    """An issuer: what it publishes, and tokens by any of its keys, each another one."""

    def __init__(self, published: Path) -> None:
        self._published = published
        self._keys: dict[str, ed25519.Ed25519PrivateKey] = {}
        self._count = 0

    def publish(self, *kids: str) -> None:
        """Its set holds these keys, and no others; made when first named."""
        keys = []
        for kid in kids:
            public = OKPAlgorithm.to_jwk(self._private(kid).public_key(), as_dict=True)
            keys.append({**public, "kid": kid, "alg": "EdDSA", "use": "sig"})
        self.write(json.dumps({"keys": keys}).encode())

    def write(self, document: bytes) -> None:
        """Whatever it says, it says whole."""
        beside = self._published.with_suffix(".new")
        beside.write_bytes(document)
        beside.rename(self._published)

    def _private(self, kid: str) -> ed25519.Ed25519PrivateKey:
        return self._keys.setdefault(kid, ed25519.Ed25519PrivateKey.generate())

    def token(self, kid: str) -> str:
        """One that nobody has seen before."""
        self._count += 1
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": f"s{self._count}", "exp": int(time.time()) + 600}
        return jwt.encode(claims, self._private(kid), algorithm="EdDSA", headers={"kid": kid})


class Client:
    """One connection, kept alive."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._connection = http.client.HTTPConnection(gateway.http, timeout=20)

    def ask(self, token: str) -> int:
        """The status of a question that needs a credential, and no backend."""
        self._connection.request("GET", "/v2", headers={"Authorization": f"Bearer {token}"})
        answer = self._connection.getresponse()
        answer.read()
        return answer.status


class Scene:
    """A gateway, its issuer and the issuer's server."""

    def __init__(self, gateway: GatewayProcess, server: JwksServer, issuer: Signing) -> None:
        self.gateway = gateway
        self.server = server
        self.issuer = issuer
        self._client = Client(gateway)

    def ask(self, kid: str) -> int:
        """The status that a fresh token of this key gets."""
        return self._client.ask(self.issuer.token(kid))

    def live(self, kid: str) -> float:
        """Seconds until a fresh token of this key is believed; one is shown every 20 ms."""
        begin = time.monotonic()
        while self.ask(kid) != 200:
            time.sleep(0.02)
            assert time.monotonic() - begin < 30, "never"
        return time.monotonic() - begin

    def failures(self, kid: str, seconds: float) -> tuple[int, int]:
        """How many fresh tokens failed in that time, and of how many."""
        statuses = []
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            statuses.append(self.ask(kid))
            time.sleep(0.005)
        return len(statuses) - statuses.count(200), len(statuses)

    def asked_anew(self) -> None:
        """SIGHUP: returns once the log tells that the fetch failed."""
        failed = "could not be refreshed, keeping those known"
        before = self.gateway.log().count(failed)
        self.gateway.process.send_signal(signal.SIGHUP)
        until(lambda: before < self.gateway.log().count(failed))

    def cpu(self) -> float:
        """Seconds of CPU that the gateway has used."""
        fields = Path(f"/proc/{self.gateway.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def scene(folder: Path, up: bool = True) -> Iterator[Scene]:
    """One that lasts as long as the block; with `up` the gateway has the issuer's keys."""
    published = folder / "published.json"
    issuer, server = Signing(published), JwksServer(published)
    issuer.publish("k1")
    if up:
        server.start()
    accepted = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": server.url, "algorithms": ["EdDSA"]}
    keys = str(folder / "api-keys.yaml")
    gateway = start_gateway(folder, POLICY, settings={"auth": {"jwt": [accepted], "api_keys": keys}})
    try:
        found = Scene(gateway, server, issuer)
        if up:
            until(lambda: found.ask("k1") == 200)
        yield found
        assert 0 == gateway.stop()
        assert "Traceback" not in gateway.log()
    finally:
        server.kill()
        gateway.stop()


def test_a_rotation_and_a_storm(tmp_path: Path, figures: Figures) -> None:
    """A new key holds at once, in a storm of made-up key names too; others hardly notice it, the issuer not at all."""
    with scene(tmp_path) as it:
        it.issuer.publish("k1", "k2")
        figures.within(PART, "new key live", it.live("k2"), 5.0)
        known, client = it.issuer.token("k1"), Client(it.gateway)
        calm = seconds_of(client, known, STORM / 4)
        fetched, used, begun = it.server.fetches, it.cpu(), time.monotonic()
        with storm(it.gateway, it.issuer.token("k1")) as made_up:
            stormy = seconds_of(client, known, STORM / 2)
            it.issuer.publish("k2", "k3")
            figures.within(PART, "new key live, through a storm of unknown ones", it.live("k3"), 5.0)
            stormy += seconds_of(client, it.issuer.token("k2"), max(0.5, STORM - (time.monotonic() - begun)))
        lasted, asked = time.monotonic() - begun, len(made_up)
        figures.at_most(PART, f"fetches in {lasted:.0f} s of {asked} unknown keys", it.server.fetches - fetched, 4 + lasted / 10)
        cpu = (it.cpu() - used) / (asked + len(stormy))
        figures.within(PART, "CPU for each request of the storm", cpu, 0.0003)
        figures.within(PART, "p99 of others, before the storm", percentile(calm, 0.99), 0.05)
        figures.within(PART, "p99 of others, in the storm", percentile(stormy, 0.99), 0.05)
        assert {401} == set(made_up)
        assert 401 == it.ask("k1")


SPOILT = {
    "garbage": b"<html>",
    "an empty set": b'{"keys": []}',
    "a shared secret": json.dumps({"keys": [{"kty": "oct", "k": base64.b64encode(b"x" * 32).decode()}]}).encode(),
    "a megabyte": b" " * (1 << 20),
}


def test_the_issuer_s_server_fails_in_every_way(tmp_path: Path, figures: Figures) -> None:
    """Gone, hung, or saying nonsense, an empty set or a secret: its known keys hold; once it is well, a new key is live soon."""
    with scene(tmp_path) as it:
        for how, document in SPOILT.items():
            it.issuer.write(document)
            it.asked_anew()
            figures.none_of(PART, f"tokens refused, issuer says {how}", *it.failures("k1", OUTAGE))
        it.issuer.publish("k1")
        it.server.pause()
        if LONG:
            begin = time.monotonic()
            assert 401 == it.ask("unheard-of")  # which makes the gateway ask its issuer
            figures.within(PART, "longest wait for an issuer that hangs", time.monotonic() - begin, 5.0)
        figures.none_of(PART, "tokens refused, issuer hangs", *it.failures("k1", OUTAGE))
        it.server.kill()
        it.asked_anew()
        figures.none_of(PART, "tokens refused, issuer is gone", *it.failures("k1", OUTAGE))
        it.issuer.publish("k2")
        it.server.start()
        figures.within(PART, "new key live, once the issuer is back", it.live("k2"), 5.0)
        assert 401 == it.ask("k1")


def test_a_start_without_the_issuer(tmp_path: Path, figures: Figures) -> None:
    """The gateway starts, API keys hold, tokens are a 503 that says to come again; soon after the issuer is there they hold."""
    with scene(tmp_path, up=False) as it:
        assert 503 == it.ask("k1")
        connection = http.client.HTTPConnection(it.gateway.http, timeout=5)
        connection.request("GET", "/v2", headers=it.gateway.credential)
        assert 200 == connection.getresponse().status
        it.server.start()
        figures.within(PART, "first keys live, once the issuer is there", it.live("k1"), 5.0)


def test_workers_that_start_while_the_issuer_is_away(tmp_path: Path) -> None:
    """They have the keys that others had before them: after a kill -9, and when all are replaced."""
    published = tmp_path / "published.json"
    issuer, server = Signing(published), JwksServer(published)
    issuer.publish("k1")
    server.start()
    accepted = {"issuer": ISSUER, "audience": AUDIENCE, "jwks": server.url, "algorithms": ["EdDSA"]}
    try:
        with serving() as backend, running(tmp_path, backend, auth={"jwt": [accepted], "api_keys": None}) as crew:

            def statuses() -> set[int]:
                """Of fresh tokens, each over a connection of its own: both workers get some."""
                return {Client(crew.gateway).ask(issuer.token("k1")) for _ in range(24)}

            until(lambda: {200} == statuses())
            server.kill()
            victim, survivor = crew.workers()
            os.kill(victim, signal.SIGKILL)
            until(lambda: 2 == len(crew.workers() - {victim}) and 2 == crew.gateway.metric("penstock_workers"), 5)
            assert {200} == statuses()
            crew.signal(signal.SIGUSR2)
            until(lambda: "2 workers replaced" in crew.gateway.log() and survivor not in crew.workers())
            assert {200} == statuses()
    finally:
        server.kill()


def seconds_of(client: Client, token: str, lasting: float) -> list[float]:
    """What each question took that one client asked in that time, 200 a second at most."""
    took = []
    ends = time.monotonic() + lasting
    while time.monotonic() < ends:
        begin = time.perf_counter()
        assert 200 == client.ask(token)
        took.append(time.perf_counter() - begin)
        time.sleep(0.005)
    return took


@contextmanager
def storm(gateway: GatewayProcess, token: str) -> Iterator[list[int]]:
    """Two clients show token after token of keys that nobody has, a thousand a second in all; the statuses they got."""
    _, claims, signature = token.split(".")
    statuses: list[int] = []
    over = threading.Event()

    def rage(name: str) -> None:
        client, number = Client(gateway), 0
        while not over.wait(0.002):
            number += 1
            header: Any = json.dumps({"alg": "EdDSA", "kid": f"{name}{number}"}).encode()
            statuses.append(client.ask(f"{base64.urlsafe_b64encode(header).decode().rstrip('=')}.{claims}.{signature}"))

    threads = [threading.Thread(target=rage, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join()
