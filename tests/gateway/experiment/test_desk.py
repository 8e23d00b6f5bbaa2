"""What clients tell is taken in within bounds, and handed on once."""

from __future__ import annotations

import json

import pytest

from backends.errors import ErrorKind, InferenceError
from gateway.experiment.desk import MOST_EACH, MOST_ITEMS, Desk
from gateway.experiment.words import Asked, Given, Noted
from routing.principal import FEEDBACK, Principal

SHOP = Principal("shop", "acme", scopes=frozenset({FEEDBACK}))
ASKED = [Asked("r1", "t/acme", 0.2, 0.5)]


def body(number: int, **more: object) -> bytes:
    return json.dumps({"feedback": [{"request": "r1", "metric": "bought", **more}] * number}).encode()


def test_one_and_several() -> None:
    """Without a value it is true; all are handed on once, with the requests that there were."""
    desk = Desk(lambda: [("a", ASKED, 3), ("b", [], 0)])
    assert 1 == desk.give(SHOP, b'{"request": "r1", "metric": "bought"}')
    assert 2 == desk.give(SHOP, body(2, value="good"))
    gathered = desk.take()
    assert [Given("t/acme", "r1", "bought", value) for value in (True, "good", "good")] == gathered.given
    assert ([Noted("a", ASKED)], 3) == (gathered.noted, gathered.lost)
    assert [] == desk.take().given


@pytest.mark.parametrize(
    ("principal", "wrong", "kind"),
    [
        (Principal("shop", "acme"), body(1), ErrorKind.FORBIDDEN),
        (SHOP, b" " * 70_000, ErrorKind.TOO_LARGE),
        (SHOP, body(MOST_ITEMS + 1), ErrorKind.INVALID),
        (SHOP, body(0), ErrorKind.INVALID),
        (SHOP, body(1, value=None), ErrorKind.INVALID),
        (SHOP, body(1, value="x" * 129), ErrorKind.INVALID),
        (SHOP, body(1, request="x" * 129), ErrorKind.INVALID),
        (SHOP, b"\xff", ErrorKind.INVALID),
        (SHOP, b"[" * 60_000, ErrorKind.INVALID),
    ],
)
def test_refused(principal: Principal, wrong: bytes, kind: ErrorKind) -> None:
    """With nothing taken in."""
    desk = Desk(lambda: ())
    with pytest.raises(InferenceError) as refused:
        desk.give(principal, wrong)
    assert (kind, []) == (refused.value.kind, desk.take().given)


def test_one_owner_does_not_take_all_the_room() -> None:
    """Who tells too much is told to come again in a second; others are heard."""
    desk = Desk(lambda: ())
    for _ in range(MOST_EACH // 1000):
        desk.give(SHOP, body(1000))
    with pytest.raises(InferenceError) as refused:
        desk.give(SHOP, body(1))
    assert (ErrorKind.OVERLOADED, 1.0) == (refused.value.kind, refused.value.retry_after)
    assert 1 == desk.give(Principal("other", "bigco", scopes=SHOP.scopes), body(1))
    desk.take()
    assert 1 == desk.give(SHOP, body(1))
