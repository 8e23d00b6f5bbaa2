"""From counts to a verdict."""

from __future__ import annotations

import pytest

from routing.shadow.excess import FAR
from routing.shadow.tally import Field, Tally
from routing.shadow.verdict import judged


def tally(**fields: Field) -> Tally:
    return Tally(("1", "2"), 0.0, 0.0, fields=fields)


def field(pairs: int, worse: int, better: int = 0) -> Field:
    return Field(compared=pairs, differed=worse, pairs=pairs, noisy=better, worse=worse, better=better)


@pytest.mark.parametrize(
    ("counts", "word"),
    [
        (field(1500, 0), "same"),
        (field(100, 0), "not enough"),
        (field(500, 20), "different"),
        (field(200_000, 40), "same"),  # proven, and proven to be less than the margin
        (field(6000, 1200, 900), "different"),
        (field(6000, 1000, 1000), "not enough"),
        (field(300_000, 50_000, 50_000), "same"),
        (field(1000, 0, 300), "same"),  # the candidate agrees more than the primary with itself
    ],
)
def test_one_field(counts: Field, word: str) -> None:
    """Different is what is proven to be and may matter."""
    found = judged(tally(y=counts), 0.01, 0.01)
    assert (word, word) == (found.verdict, found.fields[0].verdict)
    assert (word == "not enough") == bool(found.more)


def test_the_whole() -> None:
    """One different field makes it different; all must be the same; the different ones come first."""
    same, open_, other = field(5000, 0), field(100, 0), field(5000, 200)
    assert "same" == judged(tally(a=same, b=same), 0.01, 0.01).verdict
    assert "not enough" == judged(tally(a=same, b=open_), 0.01, 0.01).verdict
    found = judged(tally(a=same, b=open_, c=other), 0.01, 0.01)
    assert ("different", ["c", "b", "a"]) == (found.verdict, [each.field for each in found.fields])


def test_fields_share_the_chance_to_be_wrong() -> None:
    """Evidence that suffices for one field does not for one of fifty."""
    enough = field(500, 10)
    assert "different" == judged(tally(y=enough), 0.01, 0.01).verdict
    others = {f"f{number}": field(500, 0) for number in range(49)}
    assert "different" != judged(tally(y=enough, **others), 0.01, 0.01).verdict


def test_how_many_more() -> None:
    """In mirrored questions, of which perhaps only a part are pairs; of nothing seen nothing can be said."""
    all_pairs, half = (judged(tally(y=field(100, 0)), 0.01, 0.01, share).more for share in (1.0, 0.5))
    assert pytest.approx(2 * all_pairs, abs=1) == half
    assert FAR == judged(tally(), 0.01, 0.01).more
