"""Which versions clients may ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.match import Versions
from routing.versions import allowed, offered

NUMBERS = st.lists(st.integers(1, 30).map(str), unique=True)


@pytest.mark.parametrize("served", [None, [], ["1", "7"]])
def test_all_and_specific_ask_nobody(served: list[str] | None) -> None:
    """They hold whatever a backend serves, and where nobody knows what it serves."""
    assert allowed(Versions(), "9", served) is True
    named = Versions(frozenset({"1", "3"}))
    assert [True, False, True] == [allowed(named, version, served) for version in "123"]


def test_of_the_latest() -> None:
    """Numbers count by their size, not by their letters; a newer one than any that is told may be there already."""
    found = [version for version in ("8", "9", "10", "11", "12") if allowed(Versions(latest=2), version, ["8", "9", "10", "11"])]
    assert ["10", "11", "12"] == found


def test_the_latest_of_what_nobody_knows() -> None:
    """It can be neither allowed nor refused."""
    assert allowed(Versions(latest=2), "1", None) is None


def test_a_word_is_older_than_any_number() -> None:
    """No backend of ours serves one; it is not taken for a version that hides another."""
    assert ["x", "1"] == offered(Versions(latest=2), ["x", "1"])
    assert ["2", "1"] == offered(Versions(latest=2), ["x", "2", "1"])


@given(NUMBERS, st.integers(1, 9))
def test_as_many_are_offered_as_the_policy_says(served: list[str], latest: int) -> None:
    """The newest so many of those that are served, all of them where there are fewer, in the order given."""
    found = offered(Versions(latest=latest), served)
    assert sorted(served, key=int)[-latest:] == sorted(found, key=int)
    assert [each for each in served if each in found] == found
