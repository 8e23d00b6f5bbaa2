"""Tests of routing.limits: who is bound, whose bucket it is, and that a limit is known by what it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routing.buckets import Buckets
from routing.limits import Allowance, Bound, Limit, binds, demands, findings, implied, mark, may_bind, whose, window
from routing.principal import ANONYMOUS, Principal

ANN = Principal("ann", "acme", "free", frozenset({"models:infer", "batch"}))
NOBODY = Principal("x")


def limit(bound: Bound = Bound(), per: str = "", *allowances: Allowance, name: str = "l") -> Limit:  # noqa: B008 - frozen
    return Limit(name, bound, per, allowances or (Allowance("requests", 10, 5.0),))


@pytest.mark.parametrize(
    ("bound", "held"),
    [
        (Bound(), True),
        (Bound(tiers=frozenset({"free", "trial"})), True),
        (Bound(tenants=frozenset({"other"})), False),
        (Bound(tenants=frozenset({"acme"}), subjects=frozenset({"bob"})), False),
        (Bound(scopes=frozenset({"batch"}), models=frozenset({"digits"})), True),
        (Bound(models=frozenset({"letters"})), False),
    ],
)
def test_binds(bound: Bound, held: bool) -> None:
    """All that is written must hold, by one word of each list; what does not hold is told."""
    assert held is binds(limit(bound), ANN, "digits")
    assert held is all(each.holds for each in findings(limit(bound), ANN, "digits"))


def test_findings() -> None:
    """Each condition with what the principal has there."""
    bound = Bound(tenants=frozenset({"b", "a"}), tiers=frozenset({"free"}), scopes=frozenset({"x"}))
    found = [
        (each.key, each.wanted, each.found, each.holds) for each in findings(limit(bound), replace(ANN, tenant=""), "digits")
    ]
    assert [
        ("tenant", "a or b", None, False),
        ("tier", "free", "free", True),
        ("scope", "x", "batch models:infer", False),
    ] == found


def test_may_bind() -> None:
    """By the model alone, before anybody has come."""
    assert [True, True, False] == [
        may_bind(limit(Bound(models=models)), "digits")
        for models in (frozenset[str](), frozenset({"digits"}), frozenset({"letters"}))
    ]


@pytest.mark.parametrize(("per", "value"), [("tenant", "acme"), ("subject", "ann"), ("tier", "free"), ("model", "m"), ("", "")])
def test_whose(per: str, value: str) -> None:
    """Each value has its bucket, at other buckets than those of other values."""
    one = limit(Bound(), per)
    assert value == whose(one, ANN, "m")
    other = demands(one, Principal("bob", "bigco", "gold"), "n")
    assert (per == "") is (demands(one, ANN, "m") == other)


def test_anonymous_is_one_subject() -> None:
    """Whoever comes without a credential shares one bucket, and those without a tenant share one."""
    assert "anonymous" == whose(limit(Bound(), "subject"), ANONYMOUS, "m")
    assert demands(limit(Bound(), "tenant"), ANONYMOUS, "m") == demands(limit(Bound(), "tenant"), NOBODY, "m")


def test_a_key_is_bounded_and_nobody_s_else() -> None:
    """However long a subject is, its key is short, and no other subject's key is the same."""
    one = limit(Bound(), "subject")
    (long,) = demands(one, Principal("s" * 100_000), "m")
    assert len(long.key) < 120
    (other,) = demands(one, Principal("s" * 99_999), "m")
    (copied,) = demands(one, Principal(long.key.split(":")[1]), "m")
    assert 3 == len({long.key, other.key, copied.key})


def test_a_limit_is_what_it_says() -> None:
    """Its name and its place make no difference to its buckets, everything else does."""
    one = limit(Bound(tiers=frozenset({"a", "b", "c"})), "tenant")
    assert mark(one) == mark(replace(one, name="other"))
    others = [
        replace(one, per="subject"),
        replace(one, bound=Bound(tenants=frozenset({"a", "b", "c"}))),
        replace(one, allowances=(Allowance("requests", 11, 5.0),)),
        replace(one, allowances=(Allowance("concurrency", 10),)),
    ]
    assert 5 == len({mark(each) for each in (one, *others)})


def test_a_limit_is_the_same_in_every_process() -> None:
    """Replicas that share a store agree on its keys, whatever order their sets have."""
    assert "3a2eb9972f76660b" == mark(limit(Bound(tiers=frozenset({"a", "b", "c"})), "tenant"))


def test_each_allowance_has_its_own_bucket() -> None:
    """Requests, bytes and what is in flight are never counted together."""
    one = limit(Bound(), "", Allowance("requests", 1, 1.0), Allowance("bytes", 1, 1.0), Allowance("concurrency", 1))
    assert 3 == len({demand.key for demand in demands(one, ANN, "m")})


@pytest.mark.parametrize(("allowance", "seconds"), [(Allowance("requests", 200, 100.0), 2), (Allowance("bytes", 1, 9.0), 1)])
def test_window(allowance: Allowance, seconds: int) -> None:
    """Until an empty bucket is full, in whole seconds and never none."""
    assert seconds == window(allowance)
    assert 0 == window(Allowance("concurrency", 4))


WORDS = st.frozensets(st.sampled_from("ab"), max_size=2)
BOUNDS = st.builds(Bound, tenants=WORDS, tiers=WORDS)
ALLOWANCES = st.builds(Allowance, st.just("requests"), st.integers(1, 3), st.sampled_from([1.0, 2.0]))
LIMITS = st.builds(Limit, st.just("l"), BOUNDS, st.sampled_from(["", "tenant", "tier"]), ALLOWANCES.map(lambda each: (each,)))
WHO = st.builds(Principal, st.just("s"), st.sampled_from("abc"), st.sampled_from("abc"))


@given(LIMITS, LIMITS, st.lists(st.tuples(WHO, st.floats(0, 1)), max_size=30))
def test_what_is_implied_never_decides(one: Limit, other: Limit, comes: list[tuple[Principal, float]]) -> None:
    """Where the check says that a limit never decides, no questions are ever refused by it alone."""
    if not implied(one, other):
        return
    buckets, now = Buckets(), 0.0
    for who, gap in comes:
        now += gap
        wanted = [[demand for demand in demands(each, who, "m") if binds(each, who, "m")] for each in (other, one)]
        if all(not each or buckets.take(each, now).limited is None for each in wanted[:1]) and wanted[1]:
            assert buckets.take(wanted[1], now).limited is None or mark(one) == mark(other)
