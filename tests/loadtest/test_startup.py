"""Start-up figures beside their goals."""

from loadtest import startup


def test_medians_within_the_goals_are_reached() -> None:
    """One slow start among three does not spoil the median."""
    text, reached = startup.report([(0.5, 60.0), (3.0, 61.0), (0.6, 62.0)])
    assert reached
    assert "0.60 s (0.50..3.00)  goal ≤ 1.5 s: reached" in text
    assert "61.0 MB (60.0..62.0)  goal ≤ 80 MB: reached" in text


def test_a_missed_goal_is_said() -> None:
    """Too slow or too large is not reached."""
    assert not startup.report([(1.6, 60.0)])[1]
    assert "80.1 MB (80.1..80.1)  goal ≤ 80 MB: missed" in startup.report([(1.0, 80.1)])[0]
