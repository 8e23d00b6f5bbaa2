"""What was told, side by side."""

from __future__ import annotations

import msgspec

from gateway.experiment.counts import Counted, Counts, Sums, together
from gateway.experiment.journal import Stood
from routing.rollout.comparison import Sides
from routing.rollout.experiment import Arm
from routing.rollout.feedback import Feedback

BOUGHT, STARS = Feedback("bought"), Feedback("stars", "told", 1.0, 5.0)
BEGUN = Counted("a", 0.5, 100.0)
MINE, THEIRS = Stood(0.2, 0.5), Stood(0.7, 0.5)


def test_requests_count_each() -> None:
    """The candidate's below the weight; values from 0 to 1."""
    counts = Counts(BEGUN, (BOUGHT, STARS), sticky=False)
    for stood in (MINE, THEIRS, THEIRS, Stood(0.2, 0.3)):
        counts.asked(stood)
    assert ["joined", "joined", "earlier"] == [counts.told(1, 3.0, stood) for stood in (MINE, THEIRS, Stood(0.2, 0.3))]
    assert ([2, 1], Sides(Arm(1, 0.5, 0.25), Arm(1, 0.5, 0.25))) == (counts.drawn, counts.sums().sides.get("stars", Sides()))


def test_a_sticky_unit_counts_once() -> None:
    """By what is told first, of each metric."""
    counts = Counts(BEGUN, (BOUGHT, STARS), sticky=True)
    for stood in (MINE, MINE, THEIRS):
        counts.asked(stood)
    told = [(0, 0.0, MINE), (0, 1.0, MINE), (1, 5.0, MINE), (0, 1.0, Stood(0.3, 0.5))]
    assert ["joined", "later", "joined", "full"] == [counts.told(*each) for each in told]
    assert ([1, 1], Arm(1, 0.0, 0.0)) == (counts.drawn, counts.sums().sides.get("bought", Sides()).candidate)


def test_more_units_than_are_remembered_count_on_neither_side() -> None:
    """And it is said."""
    counts = Counts(BEGUN, (BOUGHT,), sticky=True, most=1)
    counts.asked(MINE)
    counts.asked(THEIRS)
    assert ([0, 1], True, "full") == (counts.drawn, counts.full, counts.told(0, 1.0, THEIRS))


def test_what_is_kept_goes_on() -> None:
    """Through a file, and with metrics that come, go and change places: what is the same keeps its sums, and who told of it."""
    counts = Counts(BEGUN, (BOUGHT, STARS), sticky=True)
    counts.asked(MINE)
    counts.told(0, 1.0, MINE)
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(counts.kept()), type=Counted)
    again = Counts(kept, (Feedback("new"), BOUGHT), sticky=True)
    assert ([0, 1], counts.sums().sides.get("bought", Sides())) == (again.drawn, again.sums().sides.get("bought", Sides()))
    assert ["joined", "later"] == [again.told(bit, 1.0, MINE) for bit in (0, 1)]
    changed = Counts(again.kept(), (Feedback("bought", "told"),), sticky=True)
    assert (Sides(), "joined") == (changed.sums().sides.get("bought", Sides()), changed.told(0, 1.0, MINE))


def test_what_gateways_have_come_to_adds_up() -> None:
    """Of those that take the same metrics; the others go by another policy."""
    one = Sums((3, 4), {"bought": Sides(Arm(1, 1.0, 1.0), Arm(2, 2.0, 2.0))}, (BOUGHT,))
    other = Sums((1, 1), {"bought": Sides(Arm(1, 0.5, 0.25))}, (BOUGHT,))
    found = together([one, other, Sums((9, 9), {}, (STARS,))])
    assert ((4, 5), Sides(Arm(2, 1.5, 1.25), Arm(2, 2.0, 2.0))) == (found.drawn, found.sides["bought"])
