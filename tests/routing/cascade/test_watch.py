"""What a cascade's audit knows: the alarm, the rate with its interval, and since when things are bad."""

from __future__ import annotations

import pytest

from routing.cascade.watch import REACHED, Watch, level, observe, rate, recently, stakes

MOST = 0.01
RIGHT, WRONG = (0, 1), (1, 1)


def test_what_is_as_promised_raises_no_alarm() -> None:
    """One of every hundred, in turn, for long."""
    watch = observe(Watch(), MOST, ([RIGHT] * 99 + [WRONG]) * 500)
    assert (0, 50_000, 500) == (watch.alarm, watch.requests, watch.different)


def test_a_drift_after_a_long_good_time() -> None:
    """Is found as soon as one at the very beginning, give or take a few."""
    drift = ([RIGHT] * 19 + [WRONG]) * 100
    first = observe(Watch(), MOST, drift).alarm
    late = observe(observe(Watch(), MOST, [RIGHT] * 100_000), MOST, drift).alarm - 100_000
    assert 0 < first < 300
    assert abs(first - late) < 40


def test_the_alarm_stays() -> None:
    """Whatever comes after it, and it tells which request raised it; evidence does not grow beyond what can be written down."""
    watch = observe(Watch(), MOST, [WRONG] * 20)
    assert 0 < watch.alarm < 10
    later = observe(watch, MOST, [*[WRONG] * 1000, *[RIGHT] * 100_000])
    assert watch.alarm == later.alarm
    assert all(each < 1e101 for each in later.evidence)


def test_one_request_is_one_observation() -> None:
    """Thirty-two wrong rows of one request are one wrong request, not thirty-two."""
    assert observe(Watch(), MOST, [WRONG]).evidence == observe(Watch(), MOST, [(32, 32)]).evidence
    assert (1, 32, 32, 1.0) == ((many := observe(Watch(), MOST, [(32, 32)])).requests, many.rows, many.different, many.wrong)


def test_in_parts_or_at_once() -> None:
    """Observations that come in several lots make the same watch."""
    seen = [(each % 3 == 0, 2) for each in range(50)]
    assert observe(Watch(), MOST, seen) == observe(observe(Watch(), MOST, seen[:20]), MOST, seen[20:])


@pytest.mark.parametrize("most", [0.0001, 0.01, 0.1, 0.5, 0.9])
def test_every_bet_is_fair_and_none_can_lose_all(most: float) -> None:
    """At the promised rate a factor is 1 on average; for no x it is 0 or less; the more is wrong the larger."""
    for stake in stakes(most):
        wrong, right = 1 + stake * (1 - most), 1 - stake * most
        assert 1 == pytest.approx(most * wrong + (1 - most) * right)
        assert 0 < right < 1 < wrong


def test_the_rate_and_its_interval() -> None:
    """Nothing is known at first; the interval holds the mean and narrows."""
    assert (0.0, 0.0, 1.0) == ((none := rate(Watch())).value, none.low, none.high)
    few, many = (observe(Watch(), MOST, ([RIGHT] * 49 + [WRONG]) * times) for times in (4, 400))
    for watch in (few, many):
        assert rate(watch).low < 0.02 < rate(watch).high
    assert rate(many).high - rate(many).low < 0.2 * (rate(few).high - rate(few).low)


def test_the_rate_since_the_drift() -> None:
    """Is not blurred by how good it was before."""
    watch = observe(Watch(), MOST, [*[RIGHT] * 5000, *([RIGHT] * 9 + [WRONG]) * 30])
    assert 0.006 == pytest.approx(rate(watch).value, abs=0.001)
    assert 0.1 == pytest.approx(recently(watch), abs=0.01)
    assert 0 == recently(observe(watch, MOST, [RIGHT] * 5000))


def test_the_alarm_is_at_the_level() -> None:
    """Neither before nor after."""
    watch = before = Watch()
    while not watch.alarm:
        before, watch = watch, observe(watch, MOST, [WRONG])
    assert level(before.evidence) < REACHED <= level(watch.evidence)
