"""What is said of a calibration: figures as they are, and everything that somebody must know before believing them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.calibrate.report import Chosen, Report, facts, headline, report, table
from gateway.calibrate.rows import Rows, gather
from gateway.calibrate.stages import Stages
from routing.cascade.certify import Promise, calibrate
from tests.gateway.calibrate.answers import rows, write

COST = {"fast": 1.0, "balanced": 6.0, "accurate": 40.0}
HOW = Chosen(("r.csv",), 0, None)


def told(folder: Path, names: tuple[str, ...], promise: Promise, without: tuple[str, ...] = ()) -> Report:
    stages = Stages({name: COST[name] for name in names}, {name: name for name in names})
    found = gather([write(folder / "r.csv", rows(), without)], stages.columns)
    return report(calibrate(found.at(list(stages.cost.values())), promise), found, stages, HOW)


@pytest.mark.parametrize("names", [("fast", "accurate"), ("fast", "balanced", "accurate")])
def test_a_certified_cascade(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Shares add up, the cost is that of its shares, the bound keeps the promise, and JSON has all of it."""
    found = told(tmp_path, names, Promise(0.97))
    point = found.certified
    assert point is not None
    assert point.lower is not None
    assert 0.97 <= point.lower <= point.quality
    assert 1 == pytest.approx(sum(point.shares))
    assert found.saves == pytest.approx(1 - point.cost)
    assert (500, 1000) == (found.fit_rows, found.certify_rows)
    assert f"of the cost of always asking accurate, saves {100 * found.saves:.4g} %" in headline(found)
    assert ["rows", "promise", "quality", "tested", "assumption"] == [name for name, _ in facts(found) if name != "more labels"]
    assert [*names, "cascade"] == [row[0] for row in table(found)[1]]
    assert msgspec.json.decode(msgspec.json.encode(found))["certified"]["cuts"] == list(point.cuts)


def test_nothing_certified(tmp_path: Path) -> None:
    """The answer is to ask the dearest, with the reason."""
    found = told(tmp_path, ("fast", "accurate"), Promise(0.9999))
    assert (None, 0.0) == (found.certified, found.saves)
    assert headline(found).startswith("ask accurate directly: ")
    assert "cascade" not in [row[0] for row in table(found)[1]]


def test_a_stricter_wish_is_said(tmp_path: Path) -> None:
    """That the dearest model's own mistakes are to be kept, too."""
    found = told(tmp_path, ("fast", "accurate"), Promise(0.95), without=("truth",))
    assert "dearest" == found.told
    assert any("a stricter wish" in note for note in found.notes)


def test_what_weakens_the_promise_is_said(tmp_path: Path) -> None:
    """Rows of one request, versions mixed, rows left out, no confidence, a dearest that is not the best."""
    stages = Stages({"fast": 1.0, "balanced": 40.0}, {"fast": "fast", "balanced": "balanced"})
    plain = gather([write(tmp_path / "r.csv", rows(400))], {"fast": "accurate", "balanced": "fast"})
    plain.score[0, 0] = float("nan")
    found = Rows(plain.right, plain.score, plain.label, plain.told, questions=10, partial=7, mixed=("fast",))
    notes = report(calibrate(found.at([1, 40]), Promise(0.9)), found, stages, HOW).notes
    for said in (
        "are from 10 requests",
        "several versions of fast",
        "7 recorded rows are left out",
        "1 rows have no confidence",
        "not the best",
    ):
        assert 1 == sum(said in note for note in notes), said
