"""Tests of loadtest.cascade: it measures cascades that do what their names say."""

from __future__ import annotations

import pytest

from loadtest.cascade import BAR, KINDS, bench, measured


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_every_kind_does_what_it_is_called(kind: object) -> None:
    """Rows go up or stay as its name has it, and the answers of all three ways are answers."""
    made = await bench(kind)  # type: ignore[arg-type]
    for model in ("first", "second", "cascade"):
        assert 200 == (await made.whole(model, made.message(model))).status


@pytest.mark.timed
async def test_a_cascade_is_not_twice_as_dear_as_its_bar() -> None:
    """32 rows of 64 floats of which three go up, in the quickest of many slices of CPU time. The figure itself is at the bar
    (loadtest/results/cascade.md), and by a third above it where other processes use the caches."""
    took = await measured(KINDS[0], times=100, rounds=60)
    assert took["more"] < 2 * BAR, took
