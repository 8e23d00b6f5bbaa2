"""Tests of gateway.store.orders: purges with numbers, and what an answer's number says."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from backends.inference import InferenceResponse, Tensors
from gateway.store.answer_scripts import MOST_PURGES, Agreed
from gateway.store.orders import MOST_MOMENTS, Orders
from policies.call import Kept, Share
from routing.cache.caching import Purge

DIGITS, OTHER = Purge(model="digits"), Purge(model="other")


def kept(model: str = "digits") -> Kept:
    """An answer of that model."""
    response = InferenceResponse(model, "1", "", {}, Tensors(()))
    return Kept(b"k", response, (Share("fast", 1, "m", "1"),), "none", (), 0.1, 0.0, 10.0, "", 100)


def says(stamp: bytes, purges: Mapping[Purge, tuple[int, str]] | None = None) -> Agreed:
    """What the store says."""
    return Agreed(b"s" * 32, stamp, "", purges)


def test_an_order_is_pending_until_the_store_has_it() -> None:
    """Until then all there is of its kind is gone; afterwards what is younger is there."""
    orders = Orders()
    assert ({}, b"") == (orders.pending, orders.generation)
    orders.order(DIGITS, "a")
    assert ({DIGITS: "a"}, True, False) == (orders.pending, orders.gone(kept(), 10**9), orders.gone(kept("other"), 0))
    assert [] == orders.learn(says(b"3 a", {DIGITS: (3, "a")}), 100.0)
    assert ({}, b"3 a", 3) == (orders.pending, orders.generation, orders.number)
    assert [True, False, False] == [orders.gone(kept(), number) for number in (2, 3, 4)]


def test_the_same_order_twice_is_one() -> None:
    """However it comes: from here twice, or from the store again."""
    orders = Orders()
    for _ in range(2):
        orders.order(DIGITS, "a")
    generation = orders.generation
    orders.order(DIGITS, "a")
    assert generation == orders.generation
    orders.learn(says(b"1 a", {DIGITS: (1, "a")}), 1.0)
    orders.order(DIGITS, "a")
    assert ({}, []) == (orders.pending, orders.learn(says(b"1 a", {DIGITS: (1, "a")}), 2.0))
    orders.order(DIGITS, "b")
    assert {DIGITS: "b"} == orders.pending


def test_others_purges_are_news_once() -> None:
    """A later order of the same kind is news again, even while one of ours is pending, which stays so."""
    orders = Orders()
    assert [DIGITS] == orders.learn(says(b"1 x", {DIGITS: (1, "x")}), 1.0)
    assert [] == orders.learn(says(b"1 x"), 2.0)
    assert [] == orders.learn(says(b"2 y", {DIGITS: (2, "x")}), 3.0)
    orders.order(DIGITS, "a")
    assert [DIGITS] == orders.learn(says(b"3 z", {DIGITS: (3, "z")}), 4.0)
    assert {DIGITS: "a"} == orders.pending


def test_what_the_store_has_lost_it_is_told_again() -> None:
    """After a flush or a failover; but not what an order about everything has taken in."""
    orders = Orders()
    orders.learn(says(b"2 y", {DIGITS: (1, "x"), OTHER: (2, "y")}), 1.0)
    orders.learn(says(b"1 x", {DIGITS: (1, "x")}), 2.0)
    assert ({OTHER: "y"}, True) == (orders.pending, orders.gone(kept("other"), 10))
    orders.learn(says(b"9 z", {OTHER: (3, "y"), Purge(): (9, "z")}), 3.0)
    assert ({}, True, False) == (orders.pending, orders.gone(kept(), 8), orders.gone(kept(), 9))


def test_a_store_that_goes_back_to_an_earlier_order_of_the_kind() -> None:
    """As after a failover to a replica that had not heard of the later one: that is told again, and counts until then."""
    orders = Orders()
    orders.learn(says(b"1 x", {DIGITS: (1, "x")}), 1.0)
    orders.order(DIGITS, "a")
    generations = [orders.generation]
    orders.learn(says(b"2 a", {DIGITS: (2, "a")}), 2.0)
    assert ({}, True, False) == (orders.pending, orders.gone(kept(), 1), orders.gone(kept(), 2))
    for stamp in (b"1 x", b"2 a"):
        generations.append(orders.generation)
        orders.learn(says(stamp, {DIGITS: (1, "x")}), 3.0)
        assert ({DIGITS: "a"}, True) == (orders.pending, orders.gone(kept(), 2))
        assert orders.generation not in generations
    orders.learn(says(b"3 a", {DIGITS: (3, "a")}), 4.0)
    assert ({}, True, False) == (orders.pending, orders.gone(kept(), 2), orders.gone(kept(), 3))


def test_they_are_bounded() -> None:
    """One more, and everything goes."""
    orders = Orders()
    for number in range(MOST_PURGES + 1):
        orders.order(Purge(version=str(number)), f"n{number}")
    assert {Purge(): f"n{MOST_PURGES}"} == orders.pending
    assert orders.gone(kept(), 10**9)


def test_what_was_known_when() -> None:
    """An answer's number is the one that was known before it was asked."""
    orders = Orders()
    assert 0 == orders.known_at(5.0)
    orders.learn(says(b"7 a", {DIGITS: (7, "a")}), 10.0)
    orders.learn(says(b"7 a"), 15.0)
    orders.learn(says(b"9 b", {DIGITS: (9, "b")}), 20.0)
    assert [0, 0, 7, 7, 9] == [orders.known_at(at) for at in (5.0, 10.0, 10.1, 20.0, 20.1)]
    for number in range(10, 20 + MOST_MOMENTS):
        orders.learn(says(b"%d b" % number), 11.0 + number)
    assert [0, 20 + MOST_MOMENTS - 1] == [orders.known_at(at) for at in (15.0, 10.0**6)]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("oks"), st.sampled_from([DIGITS, OTHER])), max_size=30))
def test_no_gateway_takes_what_was_purged(steps: list[tuple[str, str, Purge]]) -> None:
    """Whatever two gateways order, agree on and keep, in any order: an answer asked before an order that its reader has heard of,
    or that the store has, is never taken; and when all have agreed on everything a new answer is."""
    gates = {"a": Orders(), "b": Orders()}
    number, there, clock = 0, dict[Purge, tuple[int, str]](), 0.0
    answers: list[tuple[str, int, float]] = []  # model, number, when it was asked
    ordered: dict[str, dict[Purge, float]] = {"a": {}, "b": {}, "store": {}}

    def agree(name: str) -> None:
        nonlocal number
        gate = gates[name]
        for which, order in gate.pending.items():
            number += 1
            there[which] = (number, order)
        gate.learn(says(b"%d z" % number, dict(there)), clock)
        ordered["store"] |= {which: max(at, ordered["store"].get(which, 0.0)) for which, at in ordered[name].items()}
        ordered[name] |= ordered["store"]

    for place, (name, what, which) in enumerate(steps):
        clock += 1.0
        gate = gates[name]
        if what == "o":
            gate.order(which, f"n{place}")
            ordered[name][which] = clock
        elif what == "s":
            agree(name)
        else:
            answers.append((which.model, gate.known_at(clock - 0.5), clock - 0.5))
        for reader, of in gates.items():
            for model, asked_at, when in answers:
                if any(each.model == model and when < at for each, at in ordered[reader].items()):
                    assert of.gone(kept(model), asked_at)
    for name in ("a", "b", "a"):
        clock += 1.0
        agree(name)
    assert not gates["b"].gone(kept(), gates["a"].known_at(clock + 1))
