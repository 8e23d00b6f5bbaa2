"""What a worker answers its parent, without a process or ports. The rest is in tests/faults/test_workers.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from gateway.admin.endpoints import Drained, EndpointState
from gateway.auth.authenticator import Authenticator
from gateway.configuration.load import load_gateway, version
from gateway.serve import Gateway
from gateway.telemetry.metrics import Metrics
from gateway.workers import channel
from gateway.workers.worker import _answers, _refusals

POLICY = b"""version: 1
backends: {b: {protocol: triton-http, endpoints: ["127.0.0.1:1"]}}
models: {m: {variants: {v: {backend: b, model: x}}, routes: [{name: r, use: v}]}}
"""


@pytest.fixture
async def gateway() -> Gateway:
    """A worker's gateway, with a policy that stands in no file."""
    document = load_gateway(b"telemetry: {access_log: 'off'}\nauth: {anonymous: true, api_keys: null}\n", "gateway.yaml")
    made = Gateway(document, Path("/nowhere/policy.yaml"), Metrics(), POLICY)
    made._authenticator = Authenticator(anonymous=True)
    return made


async def test_it_has_the_policy_that_it_is_given(gateway: Gateway) -> None:
    """The first as well as later ones, whatever stands in a file; each answer is the version in force then."""
    assert version(POLICY) == gateway.plane.snapshot.version
    take = _answers(gateway, asyncio.Event())[channel.POLICY]
    assert version(POLICY + b"# new\n").encode() == await take(POLICY + b"# new\n")
    assert version(POLICY + b"# new\n") == gateway.plane.snapshot.version


async def test_what_it_cannot_use_changes_nothing(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    """Its parent sees that by the answer."""
    assert version(POLICY).encode() == await _answers(gateway, asyncio.Event())[channel.POLICY](b"broken")
    assert "policy not taken from the parent: /nowhere/policy.yaml:1:" in caplog.text


async def test_who_is_draining_takes_nothing(gateway: Gateway) -> None:
    """Its successor will."""
    gateway.draining = True
    assert b"" == await _answers(gateway, asyncio.Event())[channel.POLICY](POLICY + b"# new\n")
    assert b"" == await _answers(gateway, asyncio.Event())[channel.KEYS](b"")


async def test_it_says_who_is_an_operator(gateway: Gateway) -> None:
    """Its parent has no keys."""
    answer = await _answers(gateway, asyncio.Event())[channel.OPERATOR](b"{}")
    assert answer.startswith(b'{"status":401,"error":"send a credential')


async def test_it_takes_out_of_use_what_its_parent_says(gateway: Gateway) -> None:
    """An endpoint, which is told back, also under the next policy; and itself, so that load balancers see it."""
    answers = _answers(gateway, asyncio.Event())
    await answers[channel.HOLD](msgspec.json.encode(Drained(True, frozenset({("b", "127.0.0.1:1")}))))
    await answers[channel.POLICY](POLICY.replace(b"version: 1", b"version: 1 # new"))
    (state,) = msgspec.json.decode(await answers[channel.ENDPOINTS](b""), type=list[EndpointState])
    assert ("b", "127.0.0.1:1", True, False) == (state.backend, state.endpoint, state.drained, gateway.ready())
    await answers[channel.HOLD](msgspec.json.encode(Drained()))
    (state,) = msgspec.json.decode(await answers[channel.ENDPOINTS](b""), type=list[EndpointState])
    assert (False, True) == (state.drained, gateway.ready())


async def test_it_ends_when_its_parent_says(gateway: Gateway) -> None:
    """Nothing else is answered later for that."""
    ending = asyncio.Event()
    assert b"" == await _answers(gateway, ending)[channel.END](b"")
    assert ending.is_set()


async def test_who_cannot_start_says_why() -> None:
    """And has nothing else to tell."""
    answers = _refusals(b"no room")
    asked = (channel.START, channel.METRICS, channel.POLICY, channel.HOLD, channel.END)
    assert [b"no room", b"", b"", b"", b""] == [await answers[kind](b"") for kind in asked]
