"""What is to be expected of a next stage."""

from __future__ import annotations

from msgspec.structs import replace

from routing.cascade.foresight import ENOUGH, REMEMBERED, Foresight
from routing.plan import Target

DEAR = Target("dear", "triton", "d")
KEY = ("digits", "default", "fast")


def told(seconds: list[float], at: float = 0.0) -> Foresight:
    foresight = Foresight()
    for each in seconds:
        foresight.took(DEAR, each, at)
    return foresight


def test_nobody_knows_before_there_is_enough() -> None:
    """The pace of a target that was hardly asked is unknown, and so is that of one never asked."""
    assert None is told([0.1] * 31).usual(DEAR, 0.0)
    assert 0.1 == told([0.1] * 32).usual(DEAR, 0.0)
    assert None is told([0.1] * 32).usual(replace(DEAR, version="2"), 0.0)


def test_the_usual_time_is_one_that_nearly_all_answers_kept() -> None:
    """Of 128 answers the slowest twentieth may take longer."""
    assert 0.1 == told([0.1] * 122 + [9.0] * 6).usual(DEAR, 0.0)
    assert 9.0 == told([0.1] * 120 + [9.0] * 8).usual(DEAR, 0.0)


def test_what_nobody_has_seen_for_a_while_is_not_known() -> None:
    """Else a stage that was slow once, and is skipped for it, would never be asked again; it is learnt anew from the start."""
    foresight = told([9.0] * 64)
    assert 9.0 == foresight.usual(DEAR, REMEMBERED)
    assert None is foresight.usual(DEAR, REMEMBERED + 1)
    foresight.took(DEAR, 0.1, REMEMBERED + 1)
    assert None is foresight.usual(DEAR, REMEMBERED + 1)
    for _ in range(31):
        foresight.took(DEAR, 0.1, REMEMBERED + 1)
    assert 0.1 == foresight.usual(DEAR, REMEMBERED + 1)


def test_the_share_that_goes_up_follows_the_latest_questions() -> None:
    """Rows count, not questions; unknown at first; what changes is noticed within some hundred questions."""
    foresight = Foresight()
    for _ in range(ENOUGH - 1):
        foresight.went(KEY, 4, 1)
    assert None is foresight.share(KEY)
    foresight.went(KEY, 4, 1)
    assert 0.25 == foresight.share(KEY)
    assert None is foresight.share(("digits", "default", "mid"))
    for _ in range(500):
        foresight.went(KEY, 4, 4)
    share = foresight.share(KEY)
    assert share is not None
    assert 0.99 < share < 1
