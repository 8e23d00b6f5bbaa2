"""Tests of routing.prompt.gain: the worth of sorting prompts, against what it must be."""

from __future__ import annotations

import numpy as np
import pytest

from routing.prompt.gain import curve, interval, threshold

NEEDED = np.array([1.0, 0.0, 1.0, 0.0])


def test_the_curve_is_the_part_of_the_gain_by_share() -> None:
    """Sorted by score; its area is the APGR."""
    found = curve(np.array([0.9, 0.8, 0.7, 0.1]), NEEDED)
    assert [0.0, 0.5, 0.5, 1.0, 1.0] == found.recovered.tolist()
    assert (0.25 + 0.5 + 0.75 + 1.0) / 4 == found.apgr
    assert (0.5, 0.75) == (found.at(0.5), found.at(0.625))


def test_equal_scores_are_worth_what_drawing_lots_is() -> None:
    """Whatever order the rows stand in."""
    assert 0.5 == curve(np.zeros(4), NEEDED).apgr
    assert 0.5 == curve(np.zeros(4), NEEDED[::-1].copy()).apgr


def test_the_best_order_is_the_gain_s_own() -> None:
    """A row on which the strong model is worse costs gain, and belongs last."""
    gains = np.array([0.5, -0.25, 1.0, 0.0])
    assert curve(gains, gains).apgr > 1 - 0.5 / 4
    assert curve(-gains, gains).apgr < 0.5


def test_no_gain_is_no_curve() -> None:
    """Where the strong model is no better there is no gap to recover."""
    with pytest.raises(ValueError, match="nothing to be gained"):
        curve(np.zeros(2), np.array([0.5, -0.5]))


def test_a_threshold_sends_the_share_that_was_asked_for() -> None:
    """At and above it lies at least that share, in the very millionths that are compared."""
    scores = np.array([0.123456789, 0.9, 0.5, 0.5])
    assert 0.9 == threshold(scores, 0.25)
    assert 0.5 == threshold(scores, 0.5)
    assert 0.123456 == threshold(scores, 0.99)


def test_the_interval_holds_the_value_and_shrinks() -> None:
    """With four times the rows it is about half as wide."""
    chance = np.random.default_rng(3)
    gains = (chance.random(1600) < 0.4).astype(float)
    scores = gains * 0.3 + chance.random(1600)
    wide, narrow = interval(scores[:400], gains[:400], 0), interval(scores, gains, 0)
    assert narrow[0] < curve(scores, gains).apgr < narrow[1]
    assert 1.4 < (wide[1] - wide[0]) / (narrow[1] - narrow[0]) < 2.8
