"""Tests of gateway.store.budget_scripts: Redis counts as routing.budgets does, and no answer of it is taken on trust."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.store import budget_scripts
from gateway.store.address import parse
from gateway.store.budget_scripts import accounts, grant
from gateway.store.connection import Connection
from gateway.store.link import Link
from gateway.store.login import Login
from gateway.store.trouble import StoreError
from routing.budgets import Accounts, Grant, Want
from tests.real_parts import Redis

WANT = Want("a", 1.0, 2.0, 10.0, 60.0)
STEP = st.tuples(st.floats(0, 30), st.floats(0, 90), st.floats(0, 60), st.floats(0, 2), st.booleans())


@pytest.mark.parametrize(
    "answer", [None, b"1", [], [b"1"], [b"1", b"x"], [b"1", None], [b"nan", b"1"], [b"-1", b"0"], [b"inf", b"0"], [b"1", [b"2"]]]
)
def test_anything_else_is_no_answer(answer: object) -> None:
    """Two numbers for each want, none of them below nothing."""
    with pytest.raises(StoreError, match="something else"):
        accounts(answer, [WANT])


def test_the_grant_follows_from_what_the_accounts_were() -> None:
    """The very numbers by which the script decided."""
    assert Grant((1.5,), (0.0,)) == grant([b"8", b"0.5"], [WANT])
    assert Grant((), (0.5,), 0) == grant([b"8", b"1.5"], [WANT])


@pytest.mark.slow
def test_redis_counts_as_a_process_does(redis: Redis) -> None:
    """Whatever is taken and settled: the same grants, the same accounts."""

    async def differ(steps: list[tuple[float, float, float, float, bool]], key: str) -> None:
        link = Link(parse(redis.url), Login(), 5.0)
        await link.attempt()
        assert link.connection is not None
        near, amounts = Accounts(), {"one": 40.0, "all": 100.0}
        for number, (least, bound, more, used, settled) in enumerate(steps):
            wants = [Want(f"{key}{name}", least, least + more, amount, 60.0, bound) for name, amount in amounts.items()]
            far = grant(
                await run(link.connection, budget_scripts.TAKE, wants, [*(w for want in wants for w in _of(want)), str(number)]),
                wants,
            )
            own = near.take(wants, 0.0)
            assert own == far
            if settled and own.refused is None:
                near.settle(wants, own, [used * each for each in own.amounts], 0.0)
                words = [*(w for each in own.amounts for w in (used * each, 1000)), str(number)]
                for _ in range(2):  # the second does nothing
                    await run(link.connection, budget_scripts.SETTLE, wants, words)
        link.close()

    keys = iter(range(10_000))

    @settings(max_examples=25, deadline=None)
    @given(st.lists(STEP, max_size=12))
    def compare(steps: list[tuple[float, float, float, float, bool]]) -> None:
        asyncio.run(differ(steps, f"{next(keys)}:"))

    compare()


def _of(want: Want) -> tuple[float, float, float, float, int]:
    return want.least, want.bound, want.most, want.amount, 1000


async def run(connection: Connection, script: str, wants: list[Want], words: Sequence[float | str]) -> object:
    """One call of a script."""
    return await connection.ask("EVAL", script, len(wants), *(want.key for want in wants), *words)
