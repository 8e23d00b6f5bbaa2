"""Two trees in turns."""

from pathlib import Path

import pytest

from loadtest import turns

ROOT = Path(__file__).parents[2]


def test_what_is_said_of_a_tree() -> None:
    """Each turn is compared with the first tree's of its own round."""
    took = [[2.0, 1.0], [4.0, 3.0], [6.0, 6.0]]
    assert "4.00 µs (2.00 … 6.00), 1.000 × the first (1.000 … 1.000)" == turns.line(took, 0)
    assert "3.00 µs (1.00 … 6.00), 0.750 × the first (0.500 … 1.000)" == turns.line(took, 1)


@pytest.mark.slow
def test_a_tree_is_measured() -> None:
    """Several times in turns, by microseconds of one request."""
    took = turns.measured([ROOT, ROOT], 3)
    assert [2, 2, 2] == [len(each) for each in took]
    assert all(3 < turn < 300 for each in took for turn in each)


def test_what_is_no_tree(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is measured, and it is said so."""
    for missing in (tmp_path, tmp_path / "away"):
        assert 2 == turns.main([str(missing)])
        assert "nothing measured" in capfd.readouterr().err
