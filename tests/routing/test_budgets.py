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


def test_who_may_use_more_than_is_left_is_alone() -> None:
    """Beside others a want is granted its bound at least; what is left then is for who comes when they have ended."""
    want = Want("a", 2.0, 30.0, 100.0, 60.0, bound=20.0)
    assert Grant((25.0,), (0.0,)) == granted([want], [(30.0, 45.0)])
    assert Grant((20.0,), (0.0,)) == granted([want], [(30.0, 50.0)])
    assert Grant((), (19.0,), 0) == granted([want], [(30.0, 51.0)])
    assert Grant((3.0,), (0.0,)) == granted([want], [(97.0, 0.0)])
    assert granted([want], [(97.0, 1e-12)]).refused is None
    assert Grant((), (1.0,), 0, True) == granted([want], [(99.0, 0.0)])


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


BOUND = 25.0


class Spending(RuleBasedStateMachine):
    """Any number of questions at once, each settled whenever it ends; they use what was granted at most, or their bound."""

    def __init__(self) -> None:
        super().__init__()
        self.accounts = Accounts()
        self.open: list[tuple[list[Want], Grant]] = []
        self.spent = {"tenant": 0.0, "all": 0.0}
        self.amounts = {"tenant": 40.0, "all": 100.0}

    @rule(usual=st.floats(0.01, 1), bound=st.floats(0.01, BOUND), more=st.floats(0, 60), only=st.booleans())
    def ask(self, usual: float, bound: float, more: float, only: bool) -> None:
        """Of its tenant's budget and of everybody's, or of the second only."""
        names, least = ["all"] if only else ["tenant", "all"], usual * bound
        wants = [Want(name, least, bound + more, self.amounts[name], 60.0, bound) for name in names]
        grant = self.accounts.take(wants, 0.0)
        if grant.refused is None:
            self.open.append((wants, grant))
            assert all(least * (1 - 1e-9) <= amount <= bound + more for amount in grant.amounts)

    @rule(which=st.integers(0, 1000), part=st.sampled_from([0.0, 0.1, 1.0]))
    def end(self, which: int, part: float) -> None:
        """Also with nothing used: it was abandoned before anybody was asked."""
        if not self.open:
            return
        wants, grant = self.open.pop(which % len(self.open))
        used = part * max(min(grant.amounts), wants[0].bound)
        for want in wants:
            self.spent[want.key] += used
        self.accounts.settle(wants, grant, [used] * len(wants), 0.0)

    @invariant()
    def never_overspent(self) -> None:
        """By more than one bound, with all that are open, too; and what is known is what was used."""
        for name, amount in self.amounts.items():
            account = self.accounts.account(Want(name, 0.0, 0.0, amount, 60.0), 0.0)
            assert self.spent[name] == pytest.approx(account.spent)
            assert account.held >= 0
            at_most = sum(max(min(grant.amounts), wants[0].bound) for wants, grant in self.open if name in [w.key for w in wants])
            assert self.spent[name] + at_most <= amount + BOUND + 1e-6
            reserved = sum(
                grant.amounts[[w.key for w in wants].index(name)] for wants, grant in self.open if name in [w.key for w in wants]
            )
            assert reserved == pytest.approx(account.held, abs=1e-6)


TestSpending = Spending.TestCase
TestSpending.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
