"""The file of rollouts' states."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.kept_file import store
from gateway.rollout.file import FILE, Kept, load
from routing.rollout.betting import Evidence, Metric
from routing.rollout.rollout import Note, Rollout, Step, Terms

TERMS = Terms((Step(0.05, 60.0, 10),), (Metric("error-rate"),))
NOTE = Note(1.0, "alice", "start", "warming", 0.0, "why")
ROLLOUT = Rollout("digits", "live", "next", TERMS, 2, "running", notes=(NOTE,))
KEPT = Kept("d", ROLLOUT, {"error-rate": {0.25: 0.05}})


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    """Evidence, draws, notes and units, exactly."""
    evidence = {"error-rate": Evidence((0.1, -0.3), 1.0 / 3, (7, 1), (1, 1))}
    kept = Kept("d", Rollout("m", "s", "c", TERMS, evidence=evidence, drawn={0.05: (7, 1), 0.25: (1, 1)}), KEPT.known)
    folder = tmp_path / "new" / "state"
    store(folder / FILE, [KEPT, kept])
    assert [KEPT, kept] == load(folder)


def test_nothing_is_there(tmp_path: Path) -> None:
    """No folder, or no file in it: nothing is known."""
    assert [] == load(None) == load(tmp_path)


def test_a_damaged_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Is put aside and said, and everything begins anew."""
    store(tmp_path / FILE, [KEPT])
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-5])
    assert [] == load(tmp_path)
    assert "begin anew" in caplog.text
    assert (tmp_path / f"{FILE}.damaged").exists()
