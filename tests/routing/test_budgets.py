"""Tests of routing.budgets: sums for a period are never overspent by who keeps to his grant."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from routing.budgets import Accounts, Grant, Want, granted, period_of


def at(text: str) -> float:
    """Unix time of a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("period", "now", "name", "ends"),
    [
        ("hour", "2026-11-21T13:59:59", "2026112113", "2026-11-21T14:00:00"),
        ("day", "2026-11-21T00:00:00", "2026112100", "2026-11-22T00:00:00"),
        ("month", "2026-12-31T23:00:00", "2026120100", "2027-01-01T00:00:00"),
        ("month", "2028-02-29T00:00:00", "2028020100", "2028-03-01T00:00:00"),
    ],
)
def test_periods_are_the_calendar_s(period: str, now: str, name: str, ends: str) -> None:
    """In UTC; the end is the next one's beginning."""
    assert (name, at(ends)) == period_of(period, at(now))


def test_a_grant_is_what_is_left_between_least_and_most() -> None:
    """Nothing is taken where the least of one want does not fit, and said is whether it is spent or only reserved."""
    want = Want("a", 2.0, 10.0, 100.0, 60.0)
    assert Grant((10.0,), (90.0,)) == granted([want], [(0.0, 0.0)])
    assert Grant((5.0,), (0.0,)) == granted([want], [(60.0, 35.0)])
    assert Grant((), (1.0,), 0) == granted([want], [(60.0, 39.0)])
    assert Grant((), (1.0, 0.0), 1, True) == granted([want, replace(want, ends=90.0)], [(60.0, 39.0), (100.0, 0.0)])
    assert Grant((0.1,), (0.0,)) == granted([replace(want, least=0.1, most=0.1, amount=0.3)], [(0.1 + 0.1, 0.0)])


def test_a_settlement_frees_what_was_not_used() -> None:
    """And takes what was used beyond the grant; nothing ever is less than nothing."""
    accounts, want = Accounts(), Want("a", 1.0, 60.0, 100.0, 60.0)
    first, second = accounts.take([want], 0.0), accounts.take([want], 0.0)
    assert ((60.0,), (40.0,)) == (first.amounts, second.amounts)
    accounts.settle([want], first, [10.0], 1.0)
    accounts.settle([want], second, [95.0], 1.0)
    assert (105.0, 0.0) == (accounts.account(want, 1.0).spent, accounts.account(want, 1.0).held)
    assert accounts.take([want], 1.0).spent


def test_accounts_of_periods_that_are_over_make_room() -> None:
    """Else the one unused for longest: there are never more than so many."""
    accounts = Accounts(most=2)
    old, kept, new = (Want(key, 1.0, 1.0, 9.0, ends) for key, ends in (("old", 10.0), ("kept", 99.0), ("new", 99.0)))
    for want in (kept, old):
        accounts.take([want], 0.0)
    accounts.take([new], 20.0)
    assert (2, 1.0) == (len(accounts), accounts.account(kept, 20.0).held)


class Spending(RuleBasedStateMachine):
    """Any number of questions at once, each settled whenever it ends; they use what was granted at most, or a little more."""

    def __init__(self) -> None:
        super().__init__()
        self.accounts = Accounts()
        self.open: list[tuple[list[Want], Grant]] = []
        self.spent = {"tenant": 0.0, "all": 0.0}
        self.amounts = {"tenant": 40.0, "all": 100.0}
        self.beyond = 0.0

    @rule(least=st.floats(0, 30), more=st.floats(0, 60), only=st.booleans())
    def ask(self, least: float, more: float, only: bool) -> None:
        """Of its tenant's budget and of everybody's, or of the second only."""
        names = ["all"] if only else ["tenant", "all"]
        wants = [Want(name, least, least + more, self.amounts[name], 60.0) for name in names]
        grant = self.accounts.take(wants, 0.0)
        if grant.refused is None:
            self.open.append((wants, grant))
            assert all(least <= amount <= least + more for amount in grant.amounts)

    @rule(which=st.integers(0, 1000), part=st.floats(0, 1), extra=st.sampled_from([0.0, 0.0, 0.0, 2.5]))
    def end(self, which: int, part: float, extra: float) -> None:
        """Also with nothing used: it was abandoned before anybody was asked."""
        if not self.open:
            return
        wants, grant = self.open.pop(which % len(self.open))
        used = part * min(grant.amounts) + extra
        self.beyond += max(0.0, used - min(grant.amounts))
        for want in wants:
            self.spent[want.key] += used
        self.accounts.settle(wants, grant, [used] * len(wants), 0.0)

    @invariant()
    def never_overspent(self) -> None:
        """By more than who used more than his grant; and what is known is what was used."""
        for name, amount in self.amounts.items():
            account = self.accounts.account(Want(name, 0.0, 0.0, amount, 60.0), 0.0)
            assert self.spent[name] == pytest.approx(account.spent)
            assert account.held >= 0
            assert self.spent[name] <= amount + self.beyond + 1e-6
            reserved = sum(
                grant.amounts[[w.key for w in wants].index(name)] for wants, grant in self.open if name in [w.key for w in wants]
            )
            assert reserved == pytest.approx(account.held, abs=1e-6)


TestSpending = Spending.TestCase
TestSpending.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
