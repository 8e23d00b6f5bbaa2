"""Tests of gateway.configuration.tables_cascade."""

from __future__ import annotations

import pytest

from gateway.configuration.schema_cascade import Calibration, Cascade, Confidence, Stage
from gateway.configuration.tables_cascade import cascade_of
from routing.cascade.calibration import Calibration as Maps
from routing.plan import Confidence as Read
from routing.plan import Target

TARGETS = {name: Target(name, "triton", name) for name in ("fast", "mid", "dear")}
USUAL, OWN = Calibration({"other": ((0.1, 0.2),)}), Calibration({"other": ((0.3, 0.4),)}, "label")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (Confidence("margin", "p"), Read("p", "margin")),
        (Confidence("max-softmax", "p", logits=True), Read("p", "max-softmax", logits=True)),
        (Confidence("output:sure"), Read("sure", "output")),
        (Confidence("json:$.a[0]", "answer"), Read("answer", "json", path=("a", "0"))),
        (Confidence("min-logprob", "p"), Read("p", "min-logprob")),
        (Confidence("min-logprob", "answer", path="$.l[*]"), Read("answer", "min-logprob", path=("l", "*"))),
    ],
)
def test_what_a_confidence_is_read_from(written: Confidence, read: Read) -> None:
    """An output, and within it numbers, logits, or a place in documents."""
    assert read == cascade_of(Cascade(written, (Stage("fast", 0.5), Stage("dear"))), TARGETS).confidence


def test_a_stage_has_its_own_maps_or_the_usual_ones() -> None:
    """The last has none: whatever comes is accepted there."""
    stages = (Stage("fast", 0.5), Stage("mid", 0.5, OWN), Stage("dear"))
    made = cascade_of(Cascade(Confidence("margin", "p", calibration=USUAL), stages, 0.6), TARGETS)
    assert [Maps({"other": ((0.1, 0.2),)}), Maps({"other": ((0.3, 0.4),)}), None] == [each.calibration for each in made.stages]
    assert (["", "label", ""], 0.6) == ([each.label for each in made.stages], made.speculate)
