"""Whom a listener lets in: the counts that its connections share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.edge.http1 import Connection
from gateway.edge.limits import Limits
from gateway.edge.messages import HttpResponse
from gateway.edge.shared import LONGEST, ROOM, Shared

if TYPE_CHECKING:
    from tests.gateway.edge.conftest import Place


async def admitted(limits: Limits, peers: list[str]) -> list[int]:
    """How one connection after another from these addresses fares: 0 let in, a status, or -1 for no answer at all."""
    shared = Shared(None, limits)  # type: ignore[arg-type]  # nobody asks it
    found = []
    for peer in peers:
        try:
            refused = shared.come(Connection(shared), peer)
            found.append(0 if refused is None else refused.status)
        except ConnectionRefusedError:
            found.append(-1)
    return found


async def test_connections_in_all() -> None:
    """Beyond the bound there is an answer, beyond twice the bound none, wherever they come from."""
    assert [0, 0, 503, 503, -1] == await admitted(Limits(connections=2), [f"192.0.2.{i}" for i in range(5)])


async def test_connections_per_address() -> None:
    """One address has its own bound, and an answer for few beyond it; another address has its own."""
    limits = Limits(connections=100, connections_per_address=8)
    assert [0] * 8 + [429] * 2 + [-1, 0] == await admitted(limits, ["192.0.2.1"] * 11 + ["192.0.2.2"])


async def test_connections_per_address_can_be_left_open() -> None:
    """Without a bound one address may have them all."""
    limits = Limits(connections=10, connections_per_address=None)
    assert [0] * 10 + [503] == await admitted(limits, ["192.0.2.1"] * 11)


async def test_an_address_with_too_many_is_told_so(place: Place) -> None:
    """On the wire: 429 with its own reason, a time to come again and the end; room made is room used."""
    app, connect = await place.start(Limits(sweep=0.02, connections_per_address=1, linger_timeout=0.05))
    first = await connect()
    await first.turns(1)
    second = await connect()
    reply = await second.reply()
    assert (429, "connections-per-address", "close") == (
        reply.status,
        reply.headers["x-penstock-error"],
        reply.headers["connection"],
    )
    assert b"" == await second.rest()
    await first.until(lambda: place.listeners[0].connections == 1)
    first.close()
    assert [(429, "")] == app.refused


async def test_a_draining_port_keeps_whom_it_has_accepted() -> None:
    """A connection may be told of only after the port was closed; its first request may be on the wire."""
    shared = Shared(None, Limits())  # type: ignore[arg-type]
    shared.draining = True
    assert None is shared.come(Connection(shared), "192.0.2.1")


def again(peer: str, received: float, date: bytes) -> bytes | None:
    return b"again"


async def test_what_is_known_again_has_a_bound() -> None:
    """In all, beyond which everything is forgotten, and for each; what is forgotten gives its room back."""
    shared = Shared(None, Limits())  # type: ignore[arg-type]  # nobody asks it
    answer = HttpResponse(200, body=b"x" * 1000, again=again)
    assert not shared.know(b"x" * (LONGEST + 1), answer)
    assert not shared.know(b"", answer)
    assert not shared.know(b"x", HttpResponse(200))
    assert shared.know(b"x", answer)
    taken = shared._taken
    assert shared.know(b"x", answer, 2000)
    assert taken + 2000 == shared._taken
    requests = [b"%d" % number + b"x" * (LONGEST - 10) for number in range(2 * ROOM // LONGEST)]
    for request in requests:
        assert shared.know(request, answer)
        taken = shared._taken
        assert shared.know(request, answer)
        assert taken == shared._taken
    found = [request for request in requests if shared.repeat(request, "")]
    assert requests[-1] in found
    assert 0 < sum(len(request) + len(answer.body) for request in found) < shared._taken <= ROOM
    shared.draining = True
    assert shared.repeat(found[0], "") is None


async def test_what_is_not_answered_any_more_is_forgotten() -> None:
    """It is read, and may be known again after that."""
    shared, asked = Shared(None, Limits()), list[str]()  # type: ignore[arg-type]

    def spent(peer: str, received: float, date: bytes) -> bytes | None:
        asked.append(peer)
        return None

    assert shared.know(b"request", HttpResponse(200, again=spent))
    assert [None, None] == [shared.repeat(b"request", "a"), shared.repeat(b"request", "b")]
    assert ["a"] == asked
    assert 0 == shared._taken


async def test_what_fails_to_answer_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """And said: the request is read, and whoever fails then is told so."""

    def failing(peer: str, received: float, date: bytes) -> bytes | None:
        raise ValueError("a defect")

    shared = Shared(None, Limits())  # type: ignore[arg-type]
    assert shared.know(b"request", HttpResponse(200, again=failing))
    assert shared.repeat(b"request", "a") is None
    assert shared.repeat(b"request", "a") is None
    assert ["a defect"] == [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
