"""Reply headers: who answered, under which policy, at what cost, in what time, and under which id."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from tests.features.conftest import PLAIN, ask, framed
from tests.features.oip_server import failing

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

TIMING = re.compile(r"gateway;dur=([0-9.]+), backend;dur=([0-9.]+)")


async def test_every_header_of_an_answer(digits: Running) -> None:
    """All of them, each once, with the values that the policy gives."""
    reply = await digits.infer([0, 1, 2])
    told = {
        "content-type": "application/json",
        "x-model-name": "digits_fast",
        "x-model-version": "1",
        "x-penstock-route": "default",
        "x-penstock-variant": "fast",
        "x-penstock-escalation": "none",
        "x-penstock-cost": "3",
        "x-penstock-policy": digits.gateway.plane.snapshot.version,
        "content-length": str(len(reply.body)),
    }
    assert told == {name: reply.headers[name] for name in told}
    assert {*told, "x-request-id", "server-timing", "date"} == set(reply.headers)


async def test_server_timing(digits: Running) -> None:
    """Milliseconds in the gateway and at the backend, which together are no longer than the client waited."""
    loop = asyncio.get_running_loop()
    before = loop.time()
    found = TIMING.fullmatch((await digits.infer([0])).headers["server-timing"])
    waited = (loop.time() - before) * 1000 + 2  # uvloop's clock counts whole milliseconds
    assert found is not None
    gateway, backend = map(float, found.groups())
    assert 0 < backend
    assert 0 < gateway + backend <= waited


@pytest.mark.parametrize("given", ["abc-1", "550e8400-e29b-41d4-a716-446655440000", "A" * 128])
async def test_a_sane_id_is_kept(digits: Running, given: str) -> None:
    """The client's own id is in the answer, and the backend sees it."""
    reply = await digits.infer([0], {"X-Request-Id": given})
    assert given == reply.headers["x-request-id"] == digits.backend.asked[0].headers["x-request-id"]


@pytest.mark.parametrize("given", ["", "A" * 129, "a b", "<script>", "a;b", "\u00e9", 'a"b', "\\n"])
async def test_an_odd_id_is_replaced(digits: Running, given: str) -> None:
    """An id that could be trouble further on is replaced by one made here; every request has its own."""
    reply, other = [await digits.infer([0], {"X-Request-Id": given}) for _ in range(2)]
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", reply.headers["x-request-id"])
    assert reply.headers["x-request-id"] == digits.backend.asked[0].headers["x-request-id"] != other.headers["x-request-id"]


async def test_errors_have_an_identity_too(digits: Running) -> None:
    """Whatever went wrong, where ever: id, policy and reason are there, and a 500 of the backend shows none of its headers."""
    digits.backend.scripts["digits_fast"] = failing(500)
    port = digits.gateway.ports.http.port
    replies = [
        await digits.infer([0], {"X-Request-Id": "mine"}),
        await digits.infer([0], {"X-Request-Id": "mine"}, caller=""),
        await digits.ask("GET", "/nowhere", headers={"X-Request-Id": "mine"}),
        await ask(port, framed("POST", "/v2/models/digits/infer", {"X-Request-Id": "mine", "Content-Length": "99999999999"})),
    ]
    assert [502, 401, 404, 413] == [each.error[0] for each in replies]
    for each in replies:
        assert ("mine", digits.gateway.plane.snapshot.version) == (
            each.headers["x-request-id"],
            each.headers["x-penstock-policy"],
        )


async def test_what_is_no_http(digits: Running) -> None:
    """Even a request that cannot be read gets the protocol's error, with an id of its own."""
    reply = await ask(digits.gateway.ports.http.port, [b"GET  / HTTP/1.1\r\n\r\n"])
    assert 400 == reply.error[0]
    assert reply.headers["x-request-id"]


async def test_costs_are_written_as_people_do(start: Start) -> None:
    """No binary fractions in a price."""
    gate = await start(PLAIN.replace("cost: 1", "cost: 0.1"))
    assert "0.3" == (await gate.infer([0, 1, 2])).headers["x-penstock-cost"]
