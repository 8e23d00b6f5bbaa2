"""Which rows are different."""

from __future__ import annotations

import numpy as np
import pytest

from backends.tensors import Tensor, from_array, take
from routing.cascade.audits import Audit, differing, looked_at
from routing.shadow.compare import Rule

LARGEST = Audit(0.1, rules=(("p", Rule(label=True)),))
LABEL = Audit(0.1, rules=(("label", Rule(exact=True)),))


def classes(*rows: tuple[float, float]) -> Tensor:
    return from_array("p", "FP32", np.array(rows, dtype=np.float32))


def labels(*rows: int) -> Tensor:
    return from_array("label", "INT64", np.array(rows)[:, None])


KEPT = (classes((0.9, 0.1), (0.8, 0.2), (0.3, 0.7)), labels(4, 5, 6))


def test_the_largest_class() -> None:
    """However large it is; other outputs do not count."""
    dear = (classes((0.6, 0.4), (0.6, 0.4)), labels(0, 0))
    assert 1 == differing(LARGEST, KEPT, dear, [0, 2])
    assert 0 == differing(LARGEST, KEPT, dear, [0, 1])


def test_a_label() -> None:
    """Row by row, in the order of the rows asked."""
    assert 2 == differing(LABEL, KEPT, (labels(6, 5, 4),), [0, 1, 2])
    assert 0 == differing(LABEL, KEPT, (labels(6, 5),), [2, 1])


def test_a_tolerance() -> None:
    """By as much as the rule lets pass."""
    near = Audit(0.1, rules=(("label", Rule(atol=1.0)),))
    assert 1 == differing(near, KEPT, (labels(5, 7),), [0, 1])


@pytest.mark.parametrize("seed", range(20))
def test_all_rows_at_once_or_one_by_one(seed: int) -> None:
    """What is done for all rows at once says what a comparison of each row says."""
    rng = np.random.default_rng(seed)
    datatype, shape = [("FP32", (6, 3)), ("FP16", (6, 2, 4)), ("FP64", (6, 1)), ("INT32", (6, 1)), ("BYTES", (6, 2))][seed % 5]
    first, second = (rng.integers(0, 3, shape) for _ in range(2))
    made = [
        from_array(
            "y",
            datatype,
            np.array(list(map(str, each.ravel())), dtype="S").astype(object).reshape(shape) if datatype == "BYTES" else each,
        )
        for each in (first, second)
    ]
    for rule in (Rule(label=True), Rule(exact=True)):
        if datatype == "BYTES" and rule.label:
            continue
        audit = Audit(0.1, rules=(("y", rule),))
        each = [differing(audit, [take(made[0], [row])], [take(made[1], [row])], None) for row in range(6)]
        assert sum(found or 0 for found in each) == differing(audit, made[:1], made[1:], list(range(6)))


def test_the_whole() -> None:
    """Is different if anything in it is."""
    assert [0, 1] == [differing(LABEL, KEPT, (labels(4, 5, last),), None) for last in (6, 7)]


@pytest.mark.parametrize("dear", [(), (classes((0.1, 0.9)),), (labels(1, 2),)])
def test_what_cannot_be_compared(dear: tuple[Tensor, ...]) -> None:
    """A missing output, or another number of rows, is no difference: nothing is known."""
    assert differing(LABEL, KEPT, dear, [0]) is None


def test_what_is_looked_at() -> None:
    """Only what the rules name."""
    assert (KEPT[1],) == looked_at(LABEL, KEPT)
    assert looked_at(LABEL, KEPT[:1]) is None
