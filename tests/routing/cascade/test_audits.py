"""Which rows are different."""

from __future__ import annotations

import numpy as np
import pytest

from backends.tensors import Tensor, from_array
from routing.cascade.audits import Audit, differing, exempt, looked_at
from routing.principal import Principal
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


def test_exempt() -> None:
    """By tenant or tier."""
    audit = Audit(0.1, tenants=frozenset({"a"}), tiers=frozenset({"t"}))
    assert [True, True, False] == [
        exempt(audit, Principal("x", tenant=a, tier=t)) for a, t in (("a", ""), ("b", "t"), ("b", "u"))
    ]
