"""How many rows are needed, before there are any."""

from __future__ import annotations

from pathlib import Path

from gateway.calibrate.plan import plan, sentences
from gateway.calibrate.rows import gather
from routing.cascade.certify import Promise
from tests.gateway.calibrate.answers import rows, write


def test_a_plan(tmp_path: Path) -> None:
    """About 540 to certify at 99 %, more for a stricter promise; a dearest that is often wrong needs more of them."""
    found = plan(Promise(), None)
    assert 400 < found.certify < 600
    assert 1.49 < found.labels / found.certify < 1.51
    wishes = dict(found.others)
    assert wishes[0.95] < wishes[0.98] < found.labels < wishes[0.995]
    assert f"about {found.labels:,} rows" in next(sentences(found))
    pilot = gather([write(tmp_path / "r.csv", rows(200))], {"fast": "accurate", "balanced": "fast"})
    assert plan(Promise(), pilot).labels > found.labels
