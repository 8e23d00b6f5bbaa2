"""What a shadow has seen: counts that add up, over processes too, and never grow without end."""

from __future__ import annotations

import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from routing.shadow.compare import Found
from routing.shadow.tally import (
    MAX_EXAMPLES,
    MAX_FIELDS,
    MAX_SLICES,
    MAX_TALLIES,
    MAX_WORDS,
    Ledger,
    Pace,
    Paired,
    Tally,
    Times,
    merged,
)

SCORES = st.sampled_from([0.0, 0.5, 1.0, 2.0, math.inf])
PAIRS = st.lists(st.tuples(SCORES, SCORES | st.none(), st.sampled_from(["1", "2"])), max_size=12)

Seen = list[tuple[float, float | None, str]]


def paired(score: float, noise: float | None, name: str = "q", field: str = "y", tenant: str = "t") -> Paired:
    found = (Found(field, score, "values" if score > 1 else "", {"max_abs": score}, (("1", "2", 3),) if score > 1 else ()),)
    again = None if noise is None else (Found(field, noise),)
    return Paired(name, 5.0, {"tenant": tenant}, found, again, (0.1, 0.2, None if noise is None else 0.1), (1.0, 2.0, 0.0))


def ledger(pairs: Seen) -> Ledger:
    made = Ledger("e")
    for at, (score, noise, version) in enumerate(pairs):
        made.count("compared")
        made.add(paired(score, noise, str(at)), ("1", version))
    return made


def test_pace() -> None:
    """Who took longer, by more than a twentieth, and by more than twice; what two processes saw adds up."""
    seen = Ledger("e")
    for candidate, again in ((1.0, 1.04), (1.04, 1.0), (1.1, 1.0), (1.0, 1.1), (2.1, 1.0), (1.0, 2.1), (9.0, None), (0.0, 9.0)):
        seen.add(Paired("q", 5.0, {}, (Found("y"),), None, (1.0, candidate, again), (0, 0, 0)), ("1", "1"))
    assert Pace(2, 2, 1, 1) == seen.tallies[0].pace
    both = merged([seen, seen])
    assert both is not None
    assert Pace(4, 4, 2, 2) == both.tallies[0].pace


@given(PAIRS, PAIRS)
def test_what_two_processes_saw_is_what_one_would_have_seen(one: Seen, other: Seen) -> None:
    """Count by count."""
    both, whole = merged([ledger(one), ledger(other)]), ledger([*one, *other])
    assert both is not None
    assert whole.outcomes == both.outcomes
    for tally in whole.tallies:
        same = next(each for each in both.tallies if each.versions == tally.versions)
        assert (tally.questions, tally.pairs, tally.slices, tally.candidate.classes) == (
            same.questions,
            same.pairs,
            same.slices,
            same.candidate.classes,
        )
        assert {name: (f.worse, f.better, f.noisy, f.whys, f.largest) for name, f in tally.fields.items()} == {
            name: (f.worse, f.better, f.noisy, f.whys, f.largest) for name, f in same.fields.items()
        }


@given(PAIRS)
def test_it_travels_as_json(pairs: Seen) -> None:
    """Between a worker and its parent; what is infinite is told as very large."""
    made = ledger(pairs)
    assert made == msgspec.json.decode(msgspec.json.encode(made), type=Ledger)


def test_pairs_that_both_pass_are_equal() -> None:
    """However far within the tolerance."""
    (tally,) = ledger([(1.0, 0.0, "1"), (0.2, 0.9, "1"), (2.0, 3.0, "1"), (2.0, 0.5, "1"), (math.inf, math.inf, "1")]).tallies
    field = tally.fields["y"]
    assert (5, 3, 5, 2, 1, 1) == (field.compared, field.differed, field.pairs, field.noisy, field.worse, field.better)


def test_versions_are_apart() -> None:
    """The last few pairs are remembered; one that is not told is the one before."""
    made = Ledger("e")
    for number in range(MAX_TALLIES + 2):
        made.add(paired(0.0, 0.0), ("1", str(number)))
        made.add(paired(0.0, 0.0), ("1", ""))
    assert [2] * MAX_TALLIES == [each.questions for each in made.tallies]
    assert ("1", str(MAX_TALLIES + 1)) == made.tallies[-1].versions


def test_it_stays_small() -> None:
    """Whatever names answers, callers and values have."""
    made = Tally(("", ""), 0.0, 0.0)
    for number in range(MAX_FIELDS + 50):
        made.add(paired(math.inf, 0.0, str(number), f"y{number}", f"t{number}"))
    assert (MAX_FIELDS, MAX_EXAMPLES) == (len(made.fields), len(made.examples))
    assert MAX_SLICES + 1 >= len(made.slices)
    field = made.fields["y0"]
    for number in range(2 * MAX_WORDS):
        found = Found("y0", 2.0, str(number), {}, ((str(number), "x", 1),))
        made.add(Paired("q", 1.0, {}, (found,), None, (0, 0, None), (0, 0, 0)))
    assert MAX_WORDS == len(field.whys) == len(field.flips)


def test_the_worst_examples_stay() -> None:
    """Those first on which the primary agreed with itself."""
    made = Tally(("", ""), 0.0, 0.0)
    for number in range(20):
        made.add(paired(2.0 + number, 0.0, f"own-{number}"))
        made.add(paired(100.0 + number, 50.0, f"noise-{number}"))
    assert [f"own-{number}" for number in range(19, 19 - MAX_EXAMPLES, -1)] == [each.request for each in made.examples]


def test_another_epoch_does_not_count() -> None:
    """A process that follows an older policy is left out."""
    whole = merged([ledger([(0.0, 0.0, "1")]), Ledger("old", {"compared": 9}), ledger([(2.0, 0.0, "1")])])
    assert whole is not None
    assert {"compared": 2} == whole.outcomes
    assert merged([]) is None


@given(st.lists(st.floats(1e-4, 100), min_size=1, max_size=60))
def test_times_are_right_to_a_twentieth(seconds: list[float]) -> None:
    """Every quantile."""
    times = Times()
    for each in seconds:
        times.took(each)
    for share in (0.5, 0.95, 1.0):
        exact = sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]
        assert 0.95 <= times.quantile(share) / exact <= 1.06
    assert 0 == Times().quantile(0.5)
