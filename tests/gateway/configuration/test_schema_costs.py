"""Tests of gateway.configuration.schema_costs: sums for a period, and what an ask costs in words."""

from __future__ import annotations

import pytest

from gateway.configuration.problems import UnreadableError
from gateway.configuration.schema_costs import Cost, cheaper, cost_text, read_sum
from routing.budgets import Sum


def test_sums() -> None:
    """Of an hour, a day or a month; parts of the unit, too."""
    assert [Sum(1000, "day"), Sum(0.5, "hour"), Sum(2e4, "month")] == [
        read_sum(x) for x in ("1000/day", "0.5 / hour", "20000/month")
    ]


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        *((1000, "1000/day"), ("1000", "1000/day"), ("5/d", "5/day"), ("5 per hour", "5/hour"), ("9/months", "9/month")),
        *(("100/s", None), ("0/day", None), ("1e9/day", None), (True, None), ("-1/day", None), ("9999999999999/day", None)),
        *((float("nan"), None), (None, None), (["1/day"], None)),
    ],
)
def test_no_sums(value: object, meant: str | None) -> None:
    """Seconds and minutes have rates; a sum of nothing refuses everything."""
    with pytest.raises(UnreadableError) as refused:
        read_sum(value)
    assert meant == refused.value.suggestion


def test_what_an_ask_costs_in_words() -> None:
    """Rows alone are a number, as they are written."""
    assert ["0", "40", "2 a call + 0.05 a GPU ms"] == [cost_text(x) for x in (Cost(), Cost(40), Cost(call=2, gpu_ms=0.05))]
    bounded = Cost(gpu_ms=0.05, most_ms=200, token=1, tokens="n", most_tokens=9)
    assert "0.05 a GPU ms (200 at most) + 1 a token (9 at most)" == cost_text(bounded)


def test_cheaper_whatever_is_asked() -> None:
    """Where the one is cheaper in one part and dearer in another nobody can say."""
    pairs = [(Cost(1), Cost(2)), (Cost(2), Cost(2)), (Cost(1, call=9), Cost(2)), (Cost(1, token=1), Cost(1, token=2))]
    assert [True, False, False, True] == [cheaper(*pair) for pair in pairs]
