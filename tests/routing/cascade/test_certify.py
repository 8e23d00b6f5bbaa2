"""Cuts with a promise: what is chosen, what is not and why, and how many labels it takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from routing.cascade.certify import Certified, Labelled, Promise, calibrate, certify_rows_needed, labels_needed
from routing.cascade.cuts import Answers, outcomes
from tests.routing.simulations.services import Group, agreeing, population, some

PROMISE = Promise(0.99, 0.05)


def drawn(group: Group, rows: int, seed: int = 1) -> Labelled:
    """Rows of real services."""
    return some(population(group), rows, np.random.default_rng(seed))


def test_the_cheapest_that_passed_is_chosen() -> None:
    """Candidates pass up to the first that fails, and none behind it is tested."""
    found = calibrate(drawn(Group("ferplus", (0, 2)), 5000), PROMISE)
    passed = [point.certified for point in found.curve]
    assert sorted(passed, reverse=True) == passed
    assert True in passed
    assert False in passed
    last = passed.index(False)
    assert found.curve[last].p is not None
    assert found.curve[last].p > 0.05  # type: ignore[operator]
    assert {None} >= {point.p for point in found.curve[last + 1 :]}
    assert found.chosen is min(found.curve[:last], key=lambda point: point.cost)
    assert 5000 == found.fit_rows + found.certify_rows
    assert 1666 == found.fit_rows


def test_the_chosen_point_is_what_its_cuts_do() -> None:
    """Maps and cuts alone, applied to the rows that certified, give its shares, its cost and its pairs."""
    labelled = drawn(Group("yelp", (0, 1)), 3000)
    found = calibrate(labelled, PROMISE, seed=7)
    assert found.chosen is not None
    rows = np.random.default_rng(7).permutation(3000)[found.fit_rows :]
    score = found.calibrations[0].apply(labelled.score[rows, 0], labelled.label[rows, 0].tolist())
    seen = outcomes(np.array([found.chosen.cuts], dtype=np.float64), Answers(labelled.right[rows], score[:, None], labelled.cost))
    assert found.chosen.shares == pytest.approx(seen.shares[0].tolist())
    assert found.chosen.cost == pytest.approx(seen.cost[0])
    assert (found.chosen.pairs.losses, found.chosen.pairs.gains) == (seen.losses[0], seen.gains[0])
    assert 0.99 <= found.chosen.lower <= found.chosen.quality


def test_a_seed_is_a_result() -> None:
    """The same rows and seed give the same, another seed splits otherwise."""
    labelled = drawn(Group("digit", (0, 2)), 2000)
    first, again, other = (calibrate(labelled, PROMISE, seed) for seed in (1, 1, 2))
    assert first == again
    assert first.calibrations != other.calibrations


def test_of_three_stages_one_may_be_left_out() -> None:
    """Where asking the middle one costs more than it saves, it has no cut; with free middle answers it does not matter."""
    found = calibrate(drawn(Group("digit", (0, 1, 2)), 5000), PROMISE)
    assert found.chosen is not None
    assert 2 == len(found.chosen.cuts)
    assert None in {cut for point in found.curve for cut in point.cuts}
    assert 1.0 == pytest.approx(sum(found.chosen.shares))


def test_agreement_is_a_stricter_wish_than_the_truth() -> None:
    """With the dearest's answers as the truth nothing is gained, and the cascade costs more."""
    group, rng = Group("yelp", (0, 2)), np.random.default_rng(4)
    strict = calibrate(some(agreeing(group), 5000, rng), PROMISE)
    known = calibrate(drawn(group, 5000), PROMISE)
    assert strict.chosen is not None
    assert known.chosen is not None
    assert 0 == strict.chosen.pairs.gains
    assert strict.chosen.cost > known.chosen.cost


def test_it_may_be_read_after_every_new_label() -> None:
    """With the same rows to fit, what was certified stays so when more labels come, and more comes to it."""
    labelled = drawn(Group("ferplus", (0, 2)), 6000)

    def read(rows: int) -> Certified:
        part = replace(labelled, right=labelled.right[:rows], score=labelled.score[:rows], label=labelled.label[:rows])
        return calibrate(part, PROMISE, first=1000)

    found = [read(rows) for rows in (1001, 1500, 3000, 4500, 6000)]
    assert 1 == len({tuple(point.cuts for point in each.curve) for each in found}), "or another path may be luckier"
    readings = [sum(point.certified for point in each.curve) for each in found]
    assert sorted(readings) == readings
    assert readings[-1] > readings[0]


def test_too_few_rows_are_said_to_be_too_few() -> None:
    """With 300 labels no cascade at all could pass: it says how many would do."""
    found = calibrate(drawn(Group("yelp", (0, 1)), 300), PROMISE)
    assert found.chosen is None
    assert "too few for any cascade" in found.why
    assert "plan 9" in found.why  # 900 and some
    assert all(labels > 600 for labels, _ in found.more)


def test_what_is_not_cheaper_is_said_so() -> None:
    """Where the first stage costs what the last costs, and where cuts that would pass save nothing."""
    labelled = drawn(Group("ferplus", (0, 2)), 3000)
    assert "no stage costs less than the last" == calibrate(replace(labelled, cost=np.array([2.0, 2.0])), PROMISE).why
    dear_first = calibrate(drawn(Group("digit", (1, 2)), 1000), PROMISE)
    assert dear_first.chosen is None
    assert () == tuple(point for point in dear_first.curve if point.certified and point.cost < 1)


def test_a_cascade_that_is_no_good_is_called_so() -> None:
    """A first stage that is wrong at random leaves nothing to certify, and no number of labels is held out."""
    labelled = drawn(Group("ferplus", (0, 2)), 3000)
    right = labelled.right.copy()
    right[:, 0] = np.random.default_rng(1).random(3000) < 0.3
    found = calibrate(replace(labelled, right=right), Promise(0.9999, 0.05))
    assert found.chosen is None
    assert () == found.more


def test_more_labels_are_worth_something() -> None:
    """What more labels would save grows with them, and the chosen cut is where that begins."""
    found = calibrate(drawn(Group("yelp", (0, 2)), 1500), PROMISE)
    labels, costs = zip(*found.more, strict=True)
    assert sorted(labels) == list(labels)
    assert sorted(costs, reverse=True) == list(costs)
    assert costs[0] < (found.chosen.cost if found.chosen else 1.0)
    assert labels[0] >= 3000


def test_it_says_how_many_labels_to_plan() -> None:
    """About 540 to certify at .99: 473 where the dearest is the truth, 559 where it is right in nine of ten."""
    assert [473, 543, 559] == [certify_rows_needed(PROMISE, quality) for quality in (1.0, 0.92, 0.9)]
    assert 710 == labels_needed(PROMISE)
    assert labels_needed(Promise(0.95)) < labels_needed(PROMISE) < labels_needed(Promise(0.999)) < 8000


@pytest.mark.parametrize(("quality", "delta"), [(1.0, 0.05), (0.0, 0.05), (0.99, 0.0), (0.99, 0.001), (0.99, 1.0)])
def test_impossible_promises_are_refused(quality: float, delta: float) -> None:
    """All of the quality, none of it, no error at all, or only error."""
    with pytest.raises(ValueError, match="quality lies between"):
        Promise(quality, delta)


def test_rows_that_do_not_fit_together_are_refused() -> None:
    """Shapes that differ, costs that make no sense, a truth that is not, and no rows to fit."""
    fine = drawn(Group("digit", (0, 2)), 100)
    for odd in ({"score": fine.score[:50]}, {"cost": np.array([1.0])}, {"cost": np.array([1.0, 0.0])}, {"truth": True}):
        with pytest.raises(ValueError, match=r"right|cost"):
            replace(fine, **odd)
    with pytest.raises(ValueError, match="rows to fit"):
        calibrate(fine, PROMISE, first=100)


def test_a_dearest_that_is_never_right_is_no_obstacle() -> None:
    """Then the first alone is certified; where nobody is ever right, nothing is."""
    never = np.zeros(400, dtype=np.bool_)
    score, label, cost = np.linspace(0, 1, 400)[:, None], np.full((400, 1), "a"), np.array([1.0, 2.0])
    found = calibrate(Labelled(np.stack((~never, never), axis=1), score, label, cost), PROMISE)
    assert found.chosen is not None
    assert (1.0, 0.0) == found.chosen.shares
    assert calibrate(Labelled(np.stack((never, never), axis=1), score, label, cost), PROMISE).chosen is None
