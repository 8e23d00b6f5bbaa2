"""Tests of gateway.store.store: the whole of it on a real Redis that wants a user, a password, few rights and TLS."""

from __future__ import annotations

import asyncio
import datetime
import random
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from backends.names import Host
from gateway.configuration.load import load_gateway
from gateway.spawner import Spawner
from gateway.store.address import PASSWORD, Address
from gateway.store.link import Link
from gateway.store.login import Login
from gateway.store.store import Store
from gateway.telemetry.metrics import Metrics
from policies.keeping import Around
from policies.local_store import LocalStore
from routing.budgets import Grant, Want
from routing.cache.key import Keys
from routing.demand import Demand, Verdict
from tests.real_parts import ROOT, Redis, free_ports

pytestmark = pytest.mark.slow

BOTH = [Demand("r", "requests", 1, 0.001, 2), Demand("c", "concurrency", 1, 0.0, 2)]


@asynccontextmanager
async def opened(text: str) -> AsyncIterator[tuple[Store, Metrics]]:
    """The store of a gateway.yaml, started."""
    metrics, spawner = Metrics(), Spawner()
    store = Store(load_gateway(text.encode(), "gateway.yaml"), metrics)
    around = Around(time.monotonic, random.random, spawner.spawn)
    store.share(LocalStore(1 << 20, time.monotonic), Keys(b"k" * 32, lambda _: ()), around)
    metrics.store_up = lambda: store.up
    await store.start(spawner.spawn)
    yield store, metrics
    await spawner.close()
    store.close()


async def taken(store: Store) -> bool:
    """Whether one more fits."""
    found = store.meter.take(BOTH)
    return (found if isinstance(found, Verdict) else await found).limited is None


async def until(condition: Callable[[], bool]) -> None:
    """Lets everybody else go on until the condition holds, for five seconds at most."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for is seen from outside only
            await asyncio.sleep(0.005)


async def test_the_rights_that_the_page_gives_are_enough(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For everything it does; without one of them it says so, once, and goes on alone."""
    page = (ROOT / "docs" / "operate.md").read_text()
    found = re.search(r"`ACL SETUSER penstock on >… (.*?)`", page)
    assert found is not None
    redis.told("ACL", "SETUSER", "penstock", "on", ">hunter2", *found[1].split())
    monkeypatch.setenv(PASSWORD, "hunter2")
    async with opened(f"store: redis://penstock@127.0.0.1:{redis.port}/3") as (store, metrics):
        assert [True, True, True, False] == [store.up, *[await taken(store) for _ in range(3)]]
        store.meter.give_back(BOTH)
        await taken(store)  # answered after the permit
        wants = [Want("a budget", 1.0, 2.0, 10.0, 0.0)]
        grants = [await cast(Awaitable[Grant], store.treasury.take(wants)) for _ in range(2)]
        store.treasury.settle(wants, grants[0], [1.5])
        assert [(8.0,), (6.0,)] == [each.left for each in grants]
        await taken(store)  # answered after the settlement
        assert store.up
        assert "0" == redis.told("DBSIZE")  # all of it in the database that the URL names
        assert b"\npenstock_store_up 1\n" in metrics.exposition()
        redis.told("ACL", "SETUSER", "penstock", "-get")
        assert not await taken(store)
        assert (False, 1) == (store.up, caplog.text.count("the rights that the user needs"))
        told = metrics.exposition()
        assert b'penstock_store_requests_total{outcome="permission"} 1\n' in told
        assert b'penstock_store_requests_total{outcome="ok"} 7\n' in told
        assert b"\npenstock_store_up 0\n" in told


async def test_nothing_of_it_is_left(redis: Redis) -> None:
    """No task and no connection outlives it, however often it lost Redis."""
    before = asyncio.all_tasks()
    async with opened(f"store: {redis.url}") as (store, _):
        for _ in range(2):
            redis.kill()
            await until(lambda: not store.up)
            redis.start()
            await until(lambda: store.up)
        assert 4 == len(redis.told("CLIENT", "LIST").splitlines())  # redis-cli, and limits, budgets and answers have one each
    assert before == asyncio.all_tasks()
    await until(lambda: 1 == len(redis.told("CLIENT", "LIST").splitlines()))


async def test_without_answers_in_redis(redis: Redis) -> None:
    """They stay in memory, nobody has a lease, and there is no connection for them."""
    async with opened(f"store: {redis.url}\nredis: {{answers: 0B}}") as (store, _):
        assert (True, None, 3) == (store.up, store.leases, len(redis.told("CLIENT", "LIST").splitlines()))
        near = LocalStore(1 << 20, time.monotonic)
        assert near is store.share(near, Keys(b"k" * 32, lambda _: ()), Around(time.monotonic, random.random, lambda *_: None))


async def test_a_name_with_two_addresses(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """The one that refuses is passed over in the same attempt: `localhost` often is an IPv6 address as well."""

    async def lookup(_: str) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    host = Host("redis.internal", lookup)
    for _ in range(2):  # each begins with another
        link = Link(Address("redis.internal", redis.port), Login())
        link._host = host
        assert await link.attempt()
        link.close()
    assert [] == caplog.records


async def test_over_tls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """To a server whose certificate is for its name and signed by who is believed; to no other."""
    port = free_ports(1)[0]
    certificate, key = _certificate(tmp_path)
    files = {"tls-cert-file": str(certificate), "tls-key-file": str(key), "tls-ca-cert-file": str(certificate)}
    url = f"store: rediss://127.0.0.1:{port}\n"
    with Redis(tmp_path, **{"tls-port": str(port), "tls-auth-clients": "no", **files}):
        async with opened(f"{url}redis: {{ca_file: {certificate}}}") as (store, _):
            assert (True, True) == (store.up, await taken(store))
        async with opened(url) as (store, _):
            assert (False, True) == (store.up, await taken(store))
    assert "redis.ca_file name who signed it" in caplog.text


async def test_a_redis_that_is_away_stops_no_start(tmp_path: Path) -> None:
    """And delays it by half a second at most; it is found when it comes."""
    async with opened(f"store: unix://{tmp_path}/redis.sock") as (store, metrics):
        assert (False, True) == (store.up, await taken(store))
        assert b'penstock_store_requests_total{outcome="away"} 1\n' in metrics.exposition()
        with Redis(tmp_path, unixsocket=str(tmp_path / "redis.sock")):
            await until(lambda: store.up)


def test_who_has_no_store_loads_none_of_it() -> None:
    """Neither Redis's parser nor what uses it."""
    program = "import gateway.serve, sys; print([name for name in sys.modules if name in ('hiredis', 'gateway.store.link')])"
    assert b"[]\n" == subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True).stdout


def _certificate(folder: Path) -> tuple[Path, Path]:
    """One that signs itself, for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return folder / "cert.pem", folder / "key.pem"
