"""What cuts do to rows, and which are worth testing."""

from __future__ import annotations

import numpy as np
import pytest

from routing.cascade.cuts import SKIP, TESTED, Answers, outcomes, path, right

# Six rows, three stages: who is right, and how sure the first two are.
ANSWERS = Answers(
    np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 0, 1], [0, 1, 0], [1, 1, 1]], dtype=np.bool_),
    np.array([[0.9, 0.9], [0.8, 0.2], [0.7, 0.6], [0.2, 0.8], [-np.inf, 0.5], [0.1, 0.1]]),
    np.array([1.0, 3.0, 10.0]),
)


def test_a_row_is_kept_by_the_first_stage_that_is_sure() -> None:
    """Losses, gains and shares of each candidate; every stage that a row reaches is paid for, one that is left out is not."""
    seen = outcomes(np.array([[0.7, 0.5], [SKIP, 0.5], [0.95, SKIP]]), ANSWERS)
    assert [2, 2, 0] == seen.losses.tolist()
    assert [2, 2, 0] == seen.gains.tolist()
    assert [[3, 2, 1], [0, 4, 2], [0, 0, 6]] == (seen.shares * 6).round().tolist()
    assert [(6 * 1 + 3 * 3 + 1 * 10) / 60, (6 * 3 + 2 * 10) / 60, (6 * 1 + 6 * 10) / 60] == pytest.approx(seen.cost.tolist())


def test_right_and_outcomes_agree() -> None:
    """Row by row and in counts it is the same cascade."""
    rng = np.random.default_rng(3)
    answers = Answers(rng.random((500, 3)) < 0.7, rng.random((500, 2)), np.array([0.0, 1.0, 2.0]))
    cuts = np.array([[0.5, 0.3], [0.9, 0.1], [SKIP, 0.8], [0.0, 0.0]])
    seen, dear = outcomes(cuts, answers), answers.right[:, -1]
    found = [right(each, answers) for each in cuts]
    assert [int((dear & ~each).sum()) for each in found] == seen.losses.tolist()
    assert [int((each & ~dear).sum()) for each in found] == seen.gains.tolist()


def test_many_rows_are_counted_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same counts, whatever fits into memory at once."""
    cuts = np.array([[cut / 10, 0.5] for cut in range(10)])
    whole = outcomes(cuts, ANSWERS)
    monkeypatch.setattr("routing.cascade.cuts.BLOCK", 12)
    parts = outcomes(cuts, ANSWERS)
    assert whole.losses.tolist() == parts.losses.tolist()
    assert whole.cost.tolist() == parts.cost.tolist()


def _drawn(rows: int, seed: int, prices: tuple[float, ...] = (0.0, 1.0)) -> Answers:
    """Two stages: the surer the first, the more often it is right; the last is right in nine of ten."""
    rng = np.random.default_rng(seed)
    sure = rng.random(rows)
    return Answers(np.stack((rng.random(rows) < sure, rng.random(rows) < 0.9), axis=1), sure[:, None], np.array(prices))


def test_the_path_goes_from_safe_to_cheap() -> None:
    """Each candidate keeps more rows than the one before, and at most TESTED are tested."""
    found = path(_drawn(3000, 4), 0.9)[:, 0]
    assert 3 < len(found) <= TESTED
    assert np.all(np.diff(found) < 0)


def test_what_is_not_cheaper_is_not_tested() -> None:
    """A first stage that costs as much as the last leaves no path, as does one that is wrong too often."""
    assert 0 == len(path(_drawn(3000, 4, (1.0, 1.0)), 0.9))
    worse = _drawn(3000, 4)
    assert 0 == len(path(Answers(worse.right & [False, True], worse.score, worse.cost), 0.999))


def test_cuts_have_few_digits() -> None:
    """What is printed in a policy is what was tested: six decimals, and no cut above the score that it keeps."""
    answers = _drawn(3000, 5)
    found = path(answers, 0.9)
    assert found.round(6).tolist() == found.tolist()


def test_a_stage_that_is_in_the_way_is_left_out() -> None:
    """Of three stages where the second knows no more than the first and costs half, some candidate skips it."""
    two = _drawn(3000, 6)
    right = np.stack((two.right[:, 0], two.right[:, 0], two.right[:, 1]), axis=1)
    found = path(Answers(right, np.repeat(two.score, 2, axis=1), np.array([0.0, 0.5, 1.0])), 0.9)
    assert np.all(found[:, 1] == SKIP)


def test_rows_without_a_score_go_up() -> None:
    """Where no row of a stage has one, that stage is left out of every candidate."""
    two = _drawn(600, 7)
    assert 0 == len(path(Answers(two.right, np.full_like(two.score, -np.inf), two.cost), 0.9))
