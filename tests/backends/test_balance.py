"""Who is asked next."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from msgspec.structs import replace

from backends.balance import Balance, _score
from backends.endpoint import Endpoint
from backends.inference import InferenceRequest, Tensors

REQUEST = InferenceRequest("m", "", "", {}, (), (), Tensors(()))
NOBODY: object = None


def endpoints(count: int) -> list[Endpoint]:
    return [Endpoint(f"10.0.0.{number}:8000", NOBODY) for number in range(count)]  # type: ignore[arg-type]


def of(unit: str) -> InferenceRequest:
    return replace(REQUEST, unit=unit)


@pytest.mark.parametrize("kind", ["least-request", "round-robin", "hash"])
def test_the_only_one(kind: str) -> None:
    """There is no choice."""
    (one,) = endpoints(1)
    assert one is Balance(kind, random.random).pick([one], REQUEST)


def test_round_robin_takes_turns() -> None:
    """Each gets as many."""
    three = endpoints(3)
    balance = Balance("round-robin", random.random)
    assert {3} == set(Counter(balance.pick(three, REQUEST).address for _ in range(9)).values())


def test_least_request_takes_the_less_busy_of_two() -> None:
    """Of three the busiest is never taken, and idle ones share evenly."""
    three = endpoints(3)
    balance = Balance("least-request", random.Random(7).random)
    even = Counter(balance.pick(three, REQUEST).address for _ in range(6000))
    assert 3 == len(even)
    assert all(1800 < count < 2200 for count in even.values())
    three[0].in_flight = 5
    assert three[0] not in [balance.pick(three, REQUEST) for _ in range(500)]


def test_a_unit_has_its_endpoint() -> None:
    """Today, tomorrow and in every process; units spread evenly."""
    three = endpoints(3)
    balance = Balance("hash", random.random)
    found = Counter(balance.pick(three, of(f"tenant-{number}")).address for number in range(3000))
    assert all(850 < count < 1150 for count in found.values())
    assert "10.0.0.1:8000" == balance.pick(three, of("acme")).address == balance.pick(three[::-1], of("acme")).address


def test_only_the_units_of_one_that_leaves_move() -> None:
    """And when it comes back, they do, too."""
    three = endpoints(3)
    balance = Balance("hash", random.random)
    for number in range(300):
        unit = of(str(number))
        before, after = balance.pick(three, unit), balance.pick(three[1:], unit)
        assert before is after or before is three[0]


def test_a_sequence_is_a_unit_of_its_own() -> None:
    """Its state is at one server, whoever asks; other requests of that tenant go elsewhere."""
    many = endpoints(50)
    balance = Balance("hash", random.random)
    first, second = (replace(of(unit), parameters={"sequence_id": 7}) for unit in ("acme", "bigco"))
    assert balance.pick(many, first) is balance.pick(many, second)
    assert balance.pick(many, first) is not balance.pick(many, of("acme"))


def test_long_names_of_sequences_are_not_remembered() -> None:
    """A client could fill the memory with them; they go where they would anyway."""
    many = endpoints(5)
    balance = Balance("hash", random.random)
    asked = replace(of("acme"), parameters={"sequence_id": "s" * 1000})
    before = _score.cache_info()
    assert balance.pick(many, asked) is balance.pick(many, asked)
    assert before == _score.cache_info()


@pytest.mark.parametrize("kind", ["least-request", "round-robin"])
def test_what_one_does_not_get_is_shared(kind: str) -> None:
    """Those that stand in for one that is not to be asked get the same, not its neighbour everything."""
    three = endpoints(3)
    balance = Balance(kind, random.Random(7).random)
    found = Counter[str]()
    for _ in range(6000):
        picked = balance.pick(three, REQUEST)
        found[(picked if picked is not three[0] else balance.instead(three[1:], REQUEST)).address] += 1
    assert all(2800 < count < 3200 for count in found.values())


@pytest.mark.parametrize("kind", ["least-request", "round-robin", "hash"])
@pytest.mark.parametrize("count", [1, 3])
def test_who_was_picked_and_not_asked_is_the_next(kind: str, count: int) -> None:
    """Nobody gets less for it, and nobody more."""
    some, one, other = endpoints(count), Balance(kind, lambda: 0.0), Balance(kind, lambda: 0.0)
    for _ in range(7):
        picked = one.pick(some, of("acme"))
        one.unpick()
        assert picked is one.pick(some, of("acme"))
        assert picked is other.pick(some, of("acme"))
