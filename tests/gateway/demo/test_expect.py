"""What is not so is told with what was expected and what was seen."""

import pytest

from gateway.demo.expect import WrongError, equal, true, until


def test_what_is_equal_passes() -> None:
    """Nothing is said of what is right."""
    equal("rows", 3, 3)
    true("rows", True, 3)
    until("rows", lambda: True)


def test_what_differs_shows_both_sides() -> None:
    """The reader need not run it again to know."""
    with pytest.raises(WrongError, match=r"rows:\n +expected 3\n +seen +4"):
        equal("rows", 3, 4)


def test_what_does_not_hold_says_what_should_have() -> None:
    """And what was there instead."""
    with pytest.raises(WrongError, match=r"expected more than 3 rows:\n +seen +2"):
        true("more than 3 rows", False, 2)


def test_what_never_comes_ends_the_waiting() -> None:
    """The time is in the text."""
    with pytest.raises(WrongError, match=r"not within 0\.02 s"):
        until("rows", lambda: False, 0.02)
