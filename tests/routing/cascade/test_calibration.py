"""Maps from raw scores to chances, fitted and applied."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from routing.cascade.calibration import FEW, OTHER, Calibration, Floats, fit
from tests.routing.simulations.services import Group, population

MAPS = Calibration({"cat": ((0.2, 0.5), (0.6, 0.9)), OTHER: ((0.0, 0.1), (0.5, 0.4), (1.0, 0.6))})


def test_it_is_linear_between_knots_and_flat_outside() -> None:
    """Each row by the map of its own label, labels without one by `other`."""
    found = MAPS.apply(np.array([0.1, 0.4, 0.6, 0.9, 0.25, 2.0]), ["cat", "cat", "cat", "cat", "dog", "emu"])
    assert [0.5, 0.7, 0.9, 0.9, 0.25, 0.6] == pytest.approx(found.tolist())


def test_what_is_no_number_is_not_sure() -> None:
    """NaN and both infinities come out below any threshold, without a warning, though the map is flat outside."""
    assert [-np.inf] * 3 == MAPS.apply(np.array([np.nan, np.inf, -np.inf]), ["cat", "cat", "dog"]).tolist()


knots = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 100)), min_size=1, max_size=6, unique_by=lambda knot: knot[0])


@given(st.dictionaries(st.sampled_from("abc"), knots, max_size=3), knots, st.lists(st.integers(-5, 65), min_size=1, max_size=9))
def test_it_is_what_interpolation_says(
    maps: dict[str, list[tuple[int, int]]], other: list[tuple[int, int]], raw: list[int]
) -> None:
    """One search over the knots of all labels gives what numpy's interpolation gives for each label alone."""
    made = {name: tuple(sorted((each[0] / 60, each[1] / 100) for each in of)) for name, of in {**maps, OTHER: other}.items()}
    scores, labels = np.array(raw) / 60, [("a", "b", "c", "d")[score % 4] for score in raw]
    expected = [np.interp(score, *np.array(made.get(label, made[OTHER])).T) for score, label in zip(scores, labels, strict=True)]
    assert expected == pytest.approx(Calibration(made).apply(scores, labels).tolist())


def test_it_learns_what_a_score_is_worth() -> None:
    """Of scores whose chance is their square for one label and their root for another, within three hundredths."""
    rng = np.random.default_rng(1)
    raw, labels = rng.random(40_000), rng.choice(["square", "root"], 40_000)
    chance = np.where(labels == "square", raw**2, np.sqrt(raw))
    found = fit(raw, labels.tolist(), (rng.random(40_000) < chance).astype(np.float64)).apply(raw, labels.tolist())
    assert 0.03 > np.abs(found - chance).mean()


def test_maps_rise() -> None:
    """On real services each map's knots rise in both, so that a higher raw score is never trusted less."""
    whole = population(Group("ferplus", (0, 2)))
    maps = fit(whole.score[:, 0], whole.label[:, 0].tolist(), whole.right[:, 0].astype(np.float64)).maps
    assert 8 == len(maps)
    for each in maps.values():
        raw, chance = np.array(each).T
        assert np.all(np.diff(raw) > 0)
        assert np.all(np.diff(chance) >= 0)


def test_labels_with_few_rows_share_a_map() -> None:
    """A label with less than FEW rows is judged by `other`, which knows all rows."""
    raw = np.linspace(0, 1, 10 * FEW)
    labels = ["often"] * (9 * FEW + 1) + ["rare"] * (FEW - 1)
    assert {"often", OTHER} == set(fit(raw, labels, np.ones(10 * FEW)).maps)


def test_a_label_called_other_has_no_map_of_its_own() -> None:
    """The name is taken: such rows share the map of all."""
    assert {OTHER} == set(fit(np.linspace(0, 1, 100), [OTHER] * 100, np.ones(100)).maps)


def test_nothing_to_learn_from_accepts_nothing() -> None:
    """Where no row has a score, every row comes out with a chance of nothing."""
    assert [0.0] == fit(np.full(50, np.nan), ["a"] * 50, np.ones(50)).apply(np.array([0.9]), ["a"]).tolist()


def test_levels_are_those_of_isotonic_regression() -> None:
    """As scikit-learn has them, on real services with many equal scores: each knot at the mean score of its level, worth what it
    would be with one more row of the mean."""
    whole = population(Group("ferplus", (1, 2)))
    raw, right = whole.score[:, 0], whole.right[:, 0].astype(np.float64)
    levels = IsotonicRegression().fit(raw, right).predict(raw)
    expected: list[list[float]] = []  # raw, rows, sum of worth
    for level in np.unique(levels):
        rows = float((levels == level).sum())
        expected.append([raw[levels == level].mean(), rows, rows * level])
        while len(expected) > 1 and _worth(expected[-2], right) >= _worth(expected[-1], right):
            (low, few, below), (high, many, above) = expected.pop(-2), expected.pop()
            expected.append([(low * few + high * many) / (few + many), few + many, below + above])
    told = np.array([(each[0], _worth(each, right)) for each in expected])
    assert told == pytest.approx(np.array(fit(raw, [""] * len(raw), right).maps[OTHER]), abs=1e-6)


def _worth(level: list[float], right: Floats) -> float:
    return (level[2] + float(right.mean())) / (level[1] + 1)


def test_few_rows_that_were_all_right_are_no_certainty() -> None:
    """The more of them there are the more they are worth, so that labels do not tie; a level that then falls behind is pooled."""
    few, many = np.array([0.1, 0.2, *[0.9] * 3]), np.array([0.1, 0.2, *[0.9] * 30])
    tops = [max(fit(raw, [""] * len(raw), (raw > 0.5).astype(np.float64)).maps[OTHER])[1] for raw in (few, many)]
    assert pytest.approx([(3 + 3 / 5) / 4, (30 + 30 / 32) / 31], abs=1e-6) == tops
    raw, right = np.array([*[0.1] * 100, *[0.5] * 100, 0.9]), np.array([*[0.0] * 110, *[1.0] * 91])
    mean = 91 / 201
    pooled = (round(50.9 / 101, 9), round((91 + mean) / 102, 6))
    assert ((0.1, round(mean / 101, 6)), pooled) == fit(raw, [""] * 201, right).maps[OTHER]
