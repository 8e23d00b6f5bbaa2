"""The audits of one process: which layers there are, what is told, who falls, over reloads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest
from msgspec.structs import replace

from gateway.admin.drains import Drained
from gateway.aside import here
from gateway.audit.audits import Audits, audited
from gateway.audit.words import Order, Told
from gateway.compile import cluster
from gateway.snapshot import ClusterSpec
from gateway.spawner import Spawner
from policies.audit import Means
from routing.cascade.audits import Audit
from routing.match import Cascade, Match, Route, RouteTable, Use
from routing.plan import Confidence, Stage, Target

KEY = ("digits", "rest")
FAST, DEAR = Target("fast", "one", "f"), Target("dear", "two", "d")
AUDIT = Audit(0.5, epoch="e")
SPECS = {name: ClusterSpec(name, "triton-http", (("127.0.0.1", 1),), "least-request") for name in ("one", "two")}
make = partial(cluster, sent=lambda *_: None)


def tables(audit: Audit | None = AUDIT) -> dict[str, RouteTable]:
    cascade = Cascade(Confidence("p", "margin"), (Stage(FAST, 0.9), Stage(DEAR)), audit=audit)
    routes = Route("gold", Match(tiers=frozenset({"gold"})), Use(DEAR), 1.0), Route("rest", Match(), cascade, 1.0)
    return {"digits": RouteTable("digits", routes), "plain": RouteTable("plain", (Route("all", Match(), Use(FAST), 1.0),))}


@pytest.fixture
async def audits() -> AsyncIterator[Audits]:
    spawner = Spawner()
    made = Audits(Means(spawner.spawn, lambda: 0.0, lambda: 0.0, lambda *_: None, lambda *_: None, here))
    yield made
    await made.close()
    await spawner.close()


def test_which_are_audited() -> None:
    """Cascades that say so, with their last stage."""
    assert [(KEY, AUDIT, DEAR)] == list(audited(tables()))
    assert [] == list(audited(tables(None)))


async def test_layers(audits: Audits) -> None:
    """Of models with an audited cascade; what goes away takes what was seen with it."""
    assert {"digits"} == audits.layers(tables(), SPECS, make).keys()
    before = audits.accounts[KEY]
    audits.layers(tables(replace(AUDIT, share=0.1)), SPECS, make)
    assert before is audits.accounts[KEY]
    assert {} == audits.layers(tables(None), SPECS, make)
    assert {} == audits.accounts


async def test_what_is_told(audits: Audits) -> None:
    """Once, by epoch."""
    audits.layers(tables(), SPECS, make)
    account = audits.accounts[KEY]
    account.seen.append((1, 2))
    account.outcomes["different"] = 1
    account.cost = 80.0
    assert [[Told(*KEY, "e", [(1, 2)], {"different": 1}, 80.0)]] == await audits.alone(())
    assert [Told(*KEY, "e", [], {}, 0.0)] == audits.exchange(())


async def test_orders(audits: Audits) -> None:
    """Hold for the epoch that they name, over a reload that changes nothing, and in accounts that are made later."""
    audits.exchange([Order(*KEY, "e", True)])
    audits.layers(tables(), SPECS, make)
    assert audits.accounts[KEY].fallen
    audits.layers(tables(replace(AUDIT, share=0.1)), SPECS, make)
    assert audits.accounts[KEY].fallen
    audits.layers(tables(replace(AUDIT, epoch="other")), SPECS, make)
    assert not audits.accounts[KEY].fallen
    audits.exchange([Order(*KEY, "other", False)])
    assert not audits.accounts[KEY].fallen


async def test_what_is_drained_is_not_asked(audits: Audits) -> None:
    """Operators' drains hold for audits as well."""
    audits.layers(tables(), SPECS, make)
    audits.hold(Drained(endpoints=frozenset({("two", "127.0.0.1:1")})))
    (found,) = audits._clusters.of(*KEY).values()
    assert [True] == [endpoint.drained for endpoint in found.endpoints]
