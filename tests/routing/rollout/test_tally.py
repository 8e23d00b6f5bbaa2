"""What a gateway counts of a rollout's requests."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from routing.rollout.betting import UNMEASURED, Metric
from routing.rollout.tally import DRAWN, Batch, Count, Reveal, Tally, together

METRICS = (Metric("error-rate"), Metric("latency", "latency"))
SHARES = (*(Metric(name) for name in ("error-rate", "timeout-rate", "disagreement")), Metric("latency", "latency"))
REQUESTS = st.lists(
    st.tuples(st.floats(0.01, 0.99), st.sampled_from([0.05, 0.25]), st.integers(UNMEASURED, 1), st.integers(UNMEASURED, 10))
)


@given(REQUESTS)
def test_every_request_is_counted_where_it_belongs(requests: list[tuple[float, float, int, int]]) -> None:
    """By metric, cell, weight and side; what was not measured is nowhere."""
    tally = Tally(METRICS, sticky=False)
    for place, weight, error, slow in requests:
        tally.drew(place, weight)
        tally.saw(place, weight, (error, slow))
    batch = tally.take()
    assert () == batch.reveals
    found = {(count.metric, count.cell, count.weight): count.labels for count in batch.counts}
    expected: dict[tuple[int, int, float], tuple[int, int]] = {}
    for place, weight, *cells in requests:
        for metric, cell in ((DRAWN, 0), *enumerate(cells)):
            if cell != UNMEASURED:
                stable, candidate = expected.get((metric, cell, weight), (0, 0))
                expected[metric, cell, weight] = stable + (place >= weight), candidate + (place < weight)
    assert expected == found
    for index in (0, 1):
        measured = [place < weight for place, weight, *cells in requests if cells[index] != UNMEASURED]
        assert (measured.count(False), measured.count(True)) == batch.looked[index]


@given(REQUESTS)
def test_what_was_taken_does_not_come_again(requests: list[tuple[float, float, int, int]]) -> None:
    """A batch has what came since the last."""
    tally = Tally(METRICS, sticky=False)
    for place, weight, *cells in requests:
        tally.saw(place, weight, cells)
    tally.take()
    assert Batch(((0, 0), (0, 0))) == tally.take()


def test_a_sticky_unit_is_named_once() -> None:
    """Its first event of each metric at a weight goes by name; what it does later is only looked at."""
    tally = Tally(METRICS, sticky=True)
    for _ in range(3):
        tally.drew(0.01, 0.05)
        tally.saw(0.01, 0.05, (1, UNMEASURED))
    tally.saw(0.01, 0.05, (0, 4))
    batch = tally.take()
    assert (Reveal(DRAWN, 0, 0.05, 0.01), Reveal(0, 1, 0.05, 0.01), Reveal(1, 4, 0.05, 0.01)) == batch.reveals
    assert () == batch.counts
    assert ((0, 4), (0, 1)) == batch.looked


def test_a_sticky_unit_counts_as_nothing_until_it_is_known() -> None:
    """Requests without an event count until the unit has had one, which a tolerance by points needs."""
    tally = Tally(METRICS[:1], sticky=True)
    for cell in (0, 0, 1, 0):
        tally.saw(0.5, 0.05, (cell,))
    batch = tally.take()
    assert (Count(0, 0, 0.05, (2, 0)),) == batch.counts
    assert ((4, 0),) == batch.looked


def test_a_batch_travels() -> None:
    """Between gateways it goes as bytes."""
    for sticky in (False, True):
        tally = Tally(METRICS, sticky)
        tally.drew(0.01, 0.05)
        tally.saw(0.01, 0.05, (1, 3))
        batch = tally.take()
        assert batch == msgspec.msgpack.decode(msgspec.msgpack.encode(batch), type=Batch)


def test_two_batches_as_one() -> None:
    """Counts of the same add up, and nothing else does."""
    batches = []
    for place, error in ((0.01, 1), (0.01, 0), (0.9, 1)):
        tally = Tally(METRICS, sticky=False)
        tally.drew(place, 0.05)
        tally.saw(place, 0.05, (error, UNMEASURED))
        batches.append(tally.take())
    whole = together(together(*batches[:2]), batches[2])
    assert ((1, 2), (0, 0)) == whole.looked
    assert {Count(DRAWN, 0, 0.05, (1, 2)), Count(0, 0, 0.05, (0, 1)), Count(0, 1, 0.05, (1, 1))} == {*whole.counts}
    assert (True, False) == (bool(whole), bool(Tally(METRICS, sticky=False).take()))


def test_what_is_no_request() -> None:
    """Is counted by its own chance, also where units stay on a side."""
    tally = Tally(METRICS, sticky=True)
    tally.beside(0, 1, 0.5, candidate=True)
    tally.beside(0, 0, 0.5, candidate=False)
    batch = tally.take()
    assert (((1, 1), (0, 0)), ()) == (batch.looked, batch.reveals)
    assert {Count(0, 1, 0.5, (0, 1)), Count(0, 0, 0.5, (1, 0))} == {*batch.counts}
